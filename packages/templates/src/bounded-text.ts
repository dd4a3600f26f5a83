/**
 * Text of bounded length from values of any kind. A string beyond the heap's limit does not throw: it ends the whole process, so the
 * length is known before anything is joined.
 */
import { toValue } from 'liquidjs'
import { LimitError, renderLimits } from './render-limits.ts'

/**
 * Refuses what would be too long as text.
 *
 * @throws {LimitError}
 */
export function checkLength(value: unknown): void {
  count(value, renderLimits.valueCharacters, 0)
}

/** @returns what is left of the characters */
function count(value: unknown, left: number, depth: number): number {
  if (typeof value === 'string') return left >= value.length ? left - value.length : tooLong()
  if (!Array.isArray(value)) return left
  if (depth > renderLimits.valueDepth) return tooLong()
  let rest = left - value.length
  for (const entry of value) rest = count(entry, rest, depth + 1)
  return rest >= 0 ? rest : tooLong()
}

function tooLong(): never {
  throw new LimitError('A value in it becomes too long. Shorten it.')
}

/** What a part is rendered into: LiquidJS writes to it. */
export class BoundedOutput {
  buffer = ''

  write(value: unknown): void {
    const plain: unknown = toValue(value)
    if (typeof plain !== 'string') checkLength(plain)
    const text = toText(plain)
    if (this.buffer.length + text.length > renderLimits.outputCharacters)
      throw new LimitError(
        `It renders to more than ${renderLimits.outputCharacters.toLocaleString('en')} characters. Make it shorter.`,
      )
    this.buffer += text
  }
}

/** As LiquidJS writes it: nothing for null, lists without separators. */
function toText(value: unknown): string {
  const plain: unknown = toValue(value)
  if (typeof plain === 'string') return plain
  if (plain === null || plain === undefined) return ''
  return Array.isArray(plain) ? plain.map(toText).join('') : String(plain)
}
