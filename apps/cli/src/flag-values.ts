/** What stands behind a flag, read; every fault is one of usage. */
import { UsageError } from './command.ts'

/** What a template is filled with; read by `readVariables`. */
export const variableFlags = {
  variable: {
    type: 'string',
    multiple: true,
    value: '<name=value>',
    help: 'a variable of the template: a number or yes-or-no (true, false) where it declares one and the key may read it, else text',
  },
  variables: {
    type: 'string',
    value: '<file>',
    help: 'a JSON file with variables of the template, of any type',
  },
} as const

/** `name=value`, as often as it was given; the value may hold further `=`. */
export function readPairs(flag: string, given: readonly string[], sign = '='): Record<string, string> {
  return Object.fromEntries(
    given.map((pair) => {
      const at = pair.indexOf(sign)
      if (at < 1) throw new UsageError(`--${flag} takes name${sign}value, not "${pair}".`)
      return [pair.slice(0, at).trim(), pair.slice(at + 1).trim()]
    }),
  )
}

export function readYesNo(flag: string, given: string | undefined): boolean | undefined {
  if (given === undefined) return undefined
  if (given === 'yes' || given === 'no') return given === 'yes'
  throw new UsageError(`--${flag} takes yes or no, not "${given}".`)
}

export function readNumber(flag: string, given: string | undefined): number | undefined {
  if (given === undefined) return undefined
  const number = Number(given)
  if (given.trim() === '' || !Number.isFinite(number))
    throw new UsageError(`--${flag} takes a number, not "${given}".`)
  return number
}

/** What must be there. */
export function need(flag: string, given: string | undefined): string {
  if (given === undefined || given.trim() === '') throw new UsageError(`--${flag} is missing.`)
  return given
}

/** Without the fields that were not given. */
export function given<T extends object>(fields: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  const said = Object.entries(fields).filter(
    ([, value]) => value !== undefined && !(Array.isArray(value) && value.length === 0),
  )
  return Object.fromEntries(said) as { [K in keyof T]?: Exclude<T[K], undefined> }
}
