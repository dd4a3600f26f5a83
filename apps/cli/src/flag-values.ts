/** What stands behind a flag, read; every fault is one of usage. */
import { readFile } from 'node:fs/promises'
import { text as readText } from 'node:stream/consumers'
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

/** A list of a change: `none` empties it, and one that was not given stays. */
export function readList(given: readonly string[]): string[] | undefined {
  if (given.length === 0) return undefined
  return given.length === 1 && given[0] === 'none' ? [] : [...given]
}

/** Of a change: `none` takes it away, and what was not given stays. */
export const readOrNone = (given: string | undefined): string | null | undefined =>
  given === 'none' ? null : given

/** The flag of a password: on the command line it would be there for everybody on the machine to see. */
export const passwordFlag = {
  'password-file': {
    type: 'string',
    value: '<file>',
    help: 'a file with the password; - for standard input',
  },
} as const

export async function readPassword(file: string | undefined): Promise<string | undefined> {
  if (file === undefined) return undefined
  return (file === '-' ? await readText(process.stdin) : await readFile(file, 'utf8')).replace(/\r?\n$/, '')
}

/** The fields of a change that were given; an empty list and null say something. @param flags of the command, for whoever said nothing */
export function changed<T extends object>(
  fields: T,
  flags: readonly string[],
): { [K in keyof T]?: Exclude<T[K], undefined> } {
  const said = Object.entries(fields).filter(([, value]) => value !== undefined)
  if (said.length === 0)
    throw new UsageError(`Say what to change: ${flags.map((flag) => `--${flag}`).join(', ')}.`)
  return Object.fromEntries(said) as { [K in keyof T]?: Exclude<T[K], undefined> }
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
