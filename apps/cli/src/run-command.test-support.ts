/** Commands as they are typed, run in this process: what they print and their exit code. */
import { vi } from 'vitest'
import { findCommand, readArguments, UsageError } from './command.ts'
import { commands } from './commands.ts'
import { refusalOf, refusalText } from './refusal.ts'

export interface Outcome {
  code: number
  /** Standard output. */
  out: string
  /** Standard error: notes and refusals. */
  err: string
}

/** @param argv behind `npm run valija --` */
export async function runCommand(argv: readonly string[]): Promise<Outcome> {
  const found = findCommand(commands, argv)
  if (found === null) throw new Error(`There is no command in "${argv.join(' ')}".`)
  const [out, err]: [string[], string[]] = [[], []]
  const take = (into: string[]) => (chunk: string | Uint8Array) =>
    into.push(typeof chunk === 'string' ? chunk : Buffer.from(chunk).toString()) > 0
  const spies = [
    vi.spyOn(process.stdout, 'write').mockImplementation(take(out)),
    vi.spyOn(process.stderr, 'write').mockImplementation(take(err)),
  ]
  const before = process.exitCode
  process.exitCode = 0
  try {
    await found.command.run(readArguments(found.command, found.rest))
    return { code: process.exitCode, out: out.join(''), err: err.join('') }
  } catch (error) {
    const isJson = found.rest.includes('--json')
    err.push(
      isJson
        ? refusalOf(found.command, error as Error, true).text
        : refusalText(error as Error, found.command),
    )
    return { code: error instanceof UsageError ? 2 : 1, out: out.join(''), err: err.join('') }
  } finally {
    process.exitCode = before
    for (const spy of spies) spy.mockRestore()
  }
}
