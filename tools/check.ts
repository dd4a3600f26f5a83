/**
 * `npm run check`: everything that can be judged without a database, one line per step with its time. A failed step
 * shows its output and the next one runs all the same, so that one run tells all that is wrong; the exit code is 1
 * when any step failed.
 *
 *   node tools/check.ts                   all steps
 *   node tools/check.ts types ranks       only these
 *   node tools/check.ts -unit             all but this
 *
 * Each step is a program that can be run alone: the line of a failed one shows how.
 */
import { spawnSync } from 'node:child_process'
import { delimiter, join } from 'node:path'
import { performance } from 'node:perf_hooks'
import { repositoryRoot } from './source-tree.ts'

interface Step {
  name: string
  /** The program and its arguments; `node` is the Node that runs this file, the others are in node_modules/.bin. */
  command: readonly [string, ...string[]]
}

/** In the order in which a failure is cheapest to learn of: seconds first, the unit tests last. */
const steps: readonly Step[] = [
  { name: 'biome', command: ['biome', 'check', '--error-on-warnings'] },
  { name: 'types', command: ['tsc', '-p', '.'] },
  { name: 'ranks', command: ['node', 'tools/check-ranks.ts'] },
  { name: 'sizes', command: ['node', 'tools/check-sizes.ts'] },
  { name: 'environment', command: ['node', 'tools/check-environment.ts'] },
  { name: 'errors', command: ['node', 'tools/generate-errors.ts', '--check'] },
  { name: 'reasons', command: ['node', 'tools/generate-reasons.ts', '--check'] },
  { name: 'rules', command: ['node', 'tools/generate-rules.ts', '--check'] },
  { name: 'causes', command: ['node', 'tools/generate-causes.ts', '--check'] },
  { name: 'configuration', command: ['node', 'tools/generate-configuration.ts', '--check'] },
  { name: 'cli', command: ['node', 'tools/generate-cli.ts', '--check'] },
  { name: 'states', command: ['node', 'tools/check-states.ts'] },
  { name: 'openapi', command: ['node', 'tools/generate-openapi.ts', '--check'] },
  { name: 'openapi-lint', command: ['redocly', 'lint', 'openapi.yaml'] },
  { name: 'lock', command: ['node', 'tools/check-lock.ts'] },
  { name: 'floors', command: ['node', 'tools/check-floors.ts'] },
  { name: 'unit', command: ['vitest', 'run', '--project', 'unit'] },
]

/** The steps' own programs come first, and with them the Node that the project runs on. */
const searchPath = [join(repositoryRoot, 'node_modules', '.bin'), process.env.PATH].join(delimiter)

/** Runs one step to its end; true when it exited 0. */
function run({ name, command }: Step): boolean {
  const startedAt = performance.now()
  const [program, ...args] = command
  const { status, stdout, stderr, error } = spawnSync(program === 'node' ? process.execPath : program, args, {
    cwd: repositoryRoot,
    encoding: 'utf8',
    maxBuffer: 64 * 1024 * 1024, // one wrong type in packages/core is reported in every file that uses it
    env: { ...process.env, PATH: searchPath, NO_COLOR: '1', REDOCLY_SUPPRESS_UPDATE_NOTICE: 'true' },
  })
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(1).padStart(6)
  const isPassed = status === 0
  process.stdout.write(`${isPassed ? 'ok    ' : 'FAILED'} ${name.padEnd(14)} ${seconds} s\n`)
  if (isPassed) {
    const notes = stdout.split('\n').filter((line) => line.startsWith('note: '))
    for (const note of notes) process.stdout.write(`  ${note}\n`)
  } else {
    const output = `${stdout ?? ''}${stderr ?? ''}${error ?? ''}`.trim()
    process.stdout.write(`  $ npx ${command.join(' ')}\n${output.replace(/^/gm, '  ')}\n`)
  }
  return isPassed
}

if (import.meta.main) {
  const [unwanted = [], wanted = []] = [true, false].map((isUnwanted) =>
    process.argv.slice(2).filter((name) => name.startsWith('-') === isUnwanted),
  )
  const left = steps.filter(({ name }) => !unwanted.includes(`-${name}`))
  const unknown = [...wanted, ...unwanted.map((name) => name.slice(1))].filter(
    (name) => !steps.some((step) => step.name === name),
  )
  if (unknown.length > 0) {
    process.stdout.write(
      `no step ${unknown.join(', ')}; there are: ${steps.map(({ name }) => name).join(' ')}\n`,
    )
    process.exit(2)
  }
  const chosen = left.filter(({ name }) => wanted.length === 0 || wanted.includes(name))
  const failed = chosen.filter((step) => !run(step)).map(({ name }) => name)
  process.stdout.write(failed.length === 0 ? 'check: all passed\n' : `check: failed: ${failed.join(', ')}\n`)
  process.exitCode = failed.length === 0 ? 0 : 1
}
