/**
 * What a command of the command line is: its words, what it takes, how it is explained, and what it does. The table of all is in
 * commands.ts; from it come the parsing, `--help` and docs/cli.md.
 */
import { parseArgs } from 'node:util'

export interface Flag {
  type: 'string' | 'boolean'
  /** May be given several times. */
  multiple?: true
  /** What stands for its value in the help, such as `<address>`. */
  value?: string
  help: string
}

export type Flags = Readonly<Record<string, Flag>>

export type FlagValues<F extends Flags> = {
  [Name in keyof F]: F[Name]['type'] extends 'boolean'
    ? boolean
    : F[Name]['multiple'] extends true
      ? string[]
      : string | undefined
}

/** What somebody typed behind the command's name. */
export interface Given<F extends Flags> {
  args: string[]
  flags: FlagValues<F>
}

export interface CommandOf<F extends Flags> {
  /** One word or two: `send`, `domain add`. */
  name: string
  /** What stands behind the name, in order: `<id>` must be there, `[id]` may, `<id>…` is one or more. */
  args?: string
  /** What it does, in half a sentence. */
  summary: string
  /** What else there is to know. */
  details?: string
  flags?: F
  /** A line to paste, without `npm run valija --`. */
  example?: string
  /**
   * @throws {UsageError} exit code 2
   * @throws {Error} a sentence for whoever typed it; exit code 1
   */
  run(given: Given<F>): Promise<unknown>
}

export type Command = CommandOf<Flags>

/** For the table: gives `run` the types of the flags. */
export function command<const F extends Flags>(definition: CommandOf<F>): Command {
  return definition
}

/** It was typed wrongly, and nothing was done. */
export class UsageError extends Error {
  /** What was typed as a flag and is none. */
  unknownFlag: string | null = null
}

/** What was found to be wrong before or beside the API, each with where it is: a file, a line of one, an argument. */
export class FaultsFound extends Error {
  readonly errors: readonly { path: string; message: string }[]
  constructor(errors: readonly { path: string; message: string }[]) {
    super(errors.map(({ path, message }) => (path === '' ? message : `${path}: ${message}`)).join('\n'))
    this.errors = errors
  }
}

/** Finds the command whose words begin the arguments. */
export function findCommand(
  commands: readonly Command[],
  argv: readonly string[],
): { command: Command; rest: string[] } | null {
  for (const words of [2, 1]) {
    const name = argv.slice(0, words).join(' ')
    const found = commands.find((one) => one.name === name)
    if (found !== undefined) return { command: found, rest: argv.slice(words) }
  }
  return null
}

/** @throws {UsageError} */
export function readArguments({ flags = {}, args = '' }: Command, argv: readonly string[]): Given<Flags> {
  const { values, positionals } = parse(flags, argv)
  const wanted = args.split(' ').filter((one) => one !== '')
  const least = wanted.filter((one) => one.startsWith('<')).length
  const most = args.endsWith('…') ? Number.POSITIVE_INFINITY : wanted.length
  const missing = wanted[positionals.length]
  if (positionals.length < least) throw new UsageError(`${missing} is missing.`)
  if (positionals.length > most) throw new UsageError(`"${positionals[most]}" is one word too many.`)
  return { args: positionals, flags: values }
}

function parse(flags: Flags, argv: readonly string[]) {
  const options = Object.fromEntries(
    Object.entries(flags).map(([name, { type, multiple = false }]) => [name, { type, multiple }]),
  )
  try {
    const { values, positionals } = parseArgs({ args: [...argv], options, allowPositionals: true })
    const all = Object.entries(flags).map(([name, { type, multiple }]) => [
      name,
      values[name] ?? (type === 'boolean' ? false : multiple ? [] : undefined),
    ])
    return { values: Object.fromEntries(all) as FlagValues<Flags>, positionals }
  } catch (error) {
    const fault = new UsageError(parseFault((error as Error).message), { cause: error })
    fault.unknownFlag = /^Unknown option '(--?[^'=]+)/.exec((error as Error).message)?.[1] ?? null
    throw fault
  }
}

/** What Node says of flags, in the words of everything else here. */
function parseFault(message: string): string {
  const [, unknown] = /^Unknown option '(--?[^'=]+)/.exec(message) ?? []
  if (unknown !== undefined) return `There is no flag ${unknown}.`
  const [, valueless] =
    /^Option '(--[^' ]+)(?: <value>)?' argument (?:missing|is ambiguous)/.exec(message) ?? []
  if (valueless !== undefined)
    return `${valueless} needs a value; one that begins with a dash is written ${valueless}=-….`
  const [, bare] = /^Option '(--[^' ]+)' does not take an argument/.exec(message) ?? []
  return bare === undefined ? message : `${bare} takes no value.`
}
