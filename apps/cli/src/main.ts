/**
 * `npm run valija -- <command>`: the command line, and the way in for every process.
 *
 * A command is a file that is loaded only when it is asked for. Faults of the operator's making are one sentence on standard
 * error and exit code 1.
 */
import { commands } from './commands.ts'
import { keepCompiled } from './compile-cache.ts'

keepCompiled()

const [asked = 'help', ...rest] = process.argv.slice(2)
const name = asked === '--help' || asked === '-h' ? 'help' : asked
const command = commands[name]
if (command === undefined) {
  process.stderr.write(`valija: there is no command "${name}". "npm run valija -- help" lists them.\n`)
  process.exit(1)
}
if (rest.includes('--help') || rest.includes('-h')) {
  process.stdout.write(`npm run valija -- ${name}  ${command.summary}\n`)
  process.exit(0)
}
try {
  if (name !== 'help') (await import('@valija/runtime')).readEnvFile()
  await command.run(rest)
} catch (error) {
  process.stderr.write(`valija: ${error instanceof Error ? error.message : String(error)}\n`)
  process.exit(1)
}
