/**
 * `npm run valija -- <command>`: the command line, and the way in for every process.
 *
 * What a command needs is loaded only when it is asked for. Faults of the operator's making are one sentence on standard error:
 * exit code 2 for what was typed wrongly, 1 for what was refused or failed.
 */
import { setFlagsFromString } from 'node:v8'
import { type Command, findCommand, readArguments } from './command.ts'
import { commands } from './commands.ts'
import { keepCompiled } from './compile-cache.ts'
import { commandHelp, groupHelp, overview } from './help.ts'

keepCompiled()
/*
 * Of WebAssembly we have Prisma's query compiler, which works now and then. Compiling it once is enough: a second, optimising, compilation of
 * what is called most costs a process 0.3 s of processor time at its first management requests, and makes later ones no cheaper.
 */
for (const flag of ['--liftoff-only', '--no-wasm-tier-up', '--no-wasm-dynamic-tiering'])
  setFlagsFromString(flag)

const isHelp = (word: string | undefined) => word === '--help' || word === '-h' || word === 'help'

/** @returns the exit code, for what did not set one itself */
async function main(argv: readonly string[]): Promise<number> {
  const [word = 'help', ...others] = argv
  const found = findCommand(commands, argv)
  if (isHelp(word)) return answer(overview(commands))
  if (word === '--version' || word === '-v') return answer(`${await ownVersion()}\n`)
  if (found === null) return explainWord(word, others)
  const { command, rest } = found
  if (rest.some((one) => one === '--help' || one === '-h')) return answer(helpOf(command, rest))
  try {
    const given = readArguments(command, rest)
    ;(await import('@valija/runtime')).readEnvFile()
    await command.run(given)
    return 0
  } catch (error) {
    return await refuse(command, error, rest.includes('--json'))
  }
}

/** As the package of the whole says. */
async function ownVersion(): Promise<string> {
  const { readFile } = await import('node:fs/promises')
  const text = await readFile(new URL('../package.json', import.meta.url), 'utf8')
  return (JSON.parse(text) as { version: string }).version
}

/** `queue --help` is about `queue resume` as well. */
function helpOf(command: Command, rest: readonly string[]): string {
  const group = groupHelp(commands, command.name)
  const isGroup = commands.filter(({ name }) => name.startsWith(`${command.name} `)).length > 0
  return isGroup && rest.length === 1 ? `${commandHelp(command)}\n${group}` : commandHelp(command)
}

/** A word that is no command: the first of some, or none at all. */
function explainWord(word: string, others: readonly string[]): number {
  const group = groupHelp(commands, word)
  if (group === null) {
    process.stderr.write(`valija: there is no command "${word}". "npm run valija -- help" lists them.\n`)
    return 2
  }
  if (isHelp(others[0])) return answer(group)
  process.stderr.write(`valija: ${word} what?\n\n${group}`)
  return 2
}

function answer(text: string): number {
  process.stdout.write(text)
  return 0
}

async function refuse(command: Command, error: unknown, isJson: boolean): Promise<number> {
  const { refusalOf } = await import('./refusal.ts')
  const { text, code } = refusalOf(command, error instanceof Error ? error : new Error(String(error)), isJson)
  process.stderr.write(text)
  return code
}

/** Whoever read has gone, as `head` does: then it ends, as at Ctrl-C where that has something to clear away. */
function endWithReader(error: NodeJS.ErrnoException): void {
  if (error.code !== 'EPIPE') throw error
  if (!process.emit('SIGINT')) process.exit(0)
}

process.stdout.on('error', endWithReader)
process.stderr.on('error', endWithReader)
const code = await main(process.argv.slice(2))
if (code !== 0) process.exit(code)
