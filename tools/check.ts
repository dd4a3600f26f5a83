/**
 * `npm run check`: everything that can be judged without a database, two steps at a time, one line per step with its time. A
 * failed step shows its output and the next one runs all the same, so that one run tells all that is wrong; the exit code is
 * 1 when any step failed.
 *
 *   node tools/check.ts                   all steps
 *   node tools/check.ts types ranks       only these
 *   node tools/check.ts -unit             all but this
 *
 * Each step is a program that can be run alone: the line of a failed one shows how.
 */
import { execFile } from 'node:child_process'
import { delimiter, join } from 'node:path'
import { performance } from 'node:perf_hooks'
import { repositoryRoot } from './source-tree.ts'

interface Step {
  name: string
  /** The program and its arguments; `node` is the Node that runs this file, the others are in node_modules/.bin. */
  command: readonly [string, ...string[]]
}

/** In the order in which they are begun and told of: those that take long first. */
const steps: readonly Step[] = [
  { name: 'unit', command: ['vitest', 'run', '--project', 'unit'] },
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
]

/** The steps' own programs come first, and with them the Node that the project runs on. */
const searchPath = [join(repositoryRoot, 'node_modules', '.bin'), process.env.PATH].join(delimiter)

/** Most use one core. */
const atATime = 2

interface Outcome {
  isPassed: boolean
  seconds: number
  output: string
}

/** Runs one step to its end. */
function run({ command }: Step): Promise<Outcome> {
  const startedAt = performance.now()
  const [program, ...args] = command
  const options = {
    cwd: repositoryRoot,
    maxBuffer: 64 * 1024 * 1024, // one wrong type in packages/core is reported in every file that uses it
    env: { ...process.env, PATH: searchPath, NO_COLOR: '1', REDOCLY_SUPPRESS_UPDATE_NOTICE: 'true' },
  }
  return new Promise((resolve) => {
    execFile(program === 'node' ? process.execPath : program, args, options, (error, stdout, stderr) => {
      const seconds = (performance.now() - startedAt) / 1000
      // What kept it from starting, or from ending, is nowhere else.
      const why = error !== null && stdout + stderr === '' ? error.message : ''
      resolve({ isPassed: error === null, seconds, output: `${stdout}${stderr}${why}` })
    })
  })
}

function tell({ name, command }: Step, { isPassed, seconds, output }: Outcome): void {
  process.stdout.write(
    `${isPassed ? 'ok    ' : 'FAILED'} ${name.padEnd(14)} ${seconds.toFixed(1).padStart(6)} s\n`,
  )
  if (isPassed) {
    const notes = output.split('\n').filter((line) => line.startsWith('note: '))
    for (const note of notes) process.stdout.write(`  ${note}\n`)
  } else {
    process.stdout.write(`  $ npx ${command.join(' ')}\n${output.trim().replace(/^/gm, '  ')}\n`)
  }
}

/** Runs these steps, tells of them in their order, and gives the names of those that failed. */
async function runAll(chosen: readonly Step[]): Promise<string[]> {
  const outcomes = chosen.map(() => Promise.withResolvers<Outcome>())
  let next = 0
  const lane = async () => {
    for (let index = next++; index < chosen.length; index = next++) {
      const outcome = await run(chosen[index] as Step)
      outcomes[index]?.resolve(outcome)
    }
  }
  for (let count = 0; count < atATime; count++) void lane()
  const failed: string[] = []
  for (const [index, step] of chosen.entries()) {
    const outcome = (await outcomes[index]?.promise) as Outcome
    tell(step, outcome)
    if (!outcome.isPassed) failed.push(step.name)
  }
  return failed
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
  const failed = await runAll(chosen)
  process.stdout.write(failed.length === 0 ? 'check: all passed\n' : `check: failed: ${failed.join(', ')}\n`)
  process.exitCode = failed.length === 0 ? 0 : 1
}
