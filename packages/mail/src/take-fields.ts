/**
 * Header fields taken out of a mail, for whoever they are meant for; all other octets stay as they are, faults and all: what they are worth
 * `checkRaw` says afterwards. The time taken grows with the length of the header, which is bounded, as is the number of fields that are taken.
 */
import { Buffer } from 'node:buffer'
import { decodeWords } from 'postal-mime'
import type { Parsed } from './address.ts'
import { headerTooLarge, maxHeaderOctets } from './raw-message.ts'

export interface TakenField {
  /** Lower case. */
  name: string
  /** Unfolded (RFC 5322 section 2.2.3) and decoded (RFC 2047), without white space around it. */
  value: string
}

/** Far more than mean anything. */
const mostTaken = 200
const LF = 0x0a
const CR = 0x0d
const SPACE = 0x20
const TAB = 0x09
const COLON = 0x3a

/**
 * @param input a mail, with CRLF or LF line ends
 * @param isTaken by the field's name in lower case
 * @returns the fields in their order, and the mail without them; or a sentence that names the fault and the remedy
 */
export function takeFields(
  input: Buffer,
  isTaken: (name: string) => boolean,
): Parsed<{ taken: TakenField[]; rest: Buffer }> {
  const taken: TakenField[] = []
  const kept: Buffer[] = []
  let keptFrom = 0
  for (let at = 0; at < input.length && !isBlankLine(input, at); ) {
    const end = endOfField(input, at)
    if (end > maxHeaderOctets) return { ok: false, message: headerTooLarge }
    const field = input.subarray(at, end)
    const colon = field.indexOf(COLON)
    const name = colon < 0 ? '' : field.toString('latin1', 0, colon).trimEnd().toLowerCase()
    if (isTaken(name)) {
      if (taken.length === mostTaken) return { ok: false, message: tooManyTaken(name) }
      taken.push({ name, value: readValue(field.toString('utf8', colon + 1)) })
      kept.push(input.subarray(keptFrom, at))
      keptFrom = end
    }
    at = end
  }
  const rest = taken.length === 0 ? input : Buffer.concat([...kept, input.subarray(keptFrom)])
  return { ok: true, value: { taken, rest } }
}

function tooManyTaken(name: string): string {
  return `The header has more than ${mostTaken} fields such as "${name.slice(0, 80)}". Leave out those that mean nothing.`
}

/** The line that ends the header. */
function isBlankLine(input: Buffer, at: number): boolean {
  return input[at] === LF || (input[at] === CR && input[at + 1] === LF)
}

/** Behind its last folded line, or somewhere beyond the bound of the header. */
function endOfField(input: Buffer, start: number): number {
  let end = start
  do {
    const feed = input.indexOf(LF, end)
    if (feed < 0) return input.length
    end = feed + 1
  } while (end <= maxHeaderOctets && (input[end] === SPACE || input[end] === TAB))
  return end
}

function readValue(text: string): string {
  return decodeWords(text.replace(/\r?\n/g, '').trim())
}
