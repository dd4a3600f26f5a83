/**
 * `npm run soak -- <name>`: the long form of a test whose short form runs with all others; without a name, which there are.
 *
 * Those are the end-to-end tests whose size tests/support/scale.ts decides. `fairness` is `tests/t-NN-fairness.test.ts`.
 * SCALE can be given: 1 is the whole, 0.01 the short form.
 */
import { spawnSync } from 'node:child_process'
import { globSync, readFileSync } from 'node:fs'
import { basename } from 'node:path'
import { firstSentence, headerComment } from './header-comment.ts'

const files = globSync('tests/t-*.test.ts').filter((file) =>
  readFileSync(file, 'utf8').includes("'./support/scale.ts'"),
)
const names = new Map(files.map((file) => [basename(file).replace(/^t-\d+-(.*)\.test\.ts$/, '$1'), file]))
const asked = process.argv.slice(2)
const known = [...names.keys()].toSorted().join(', ') || 'none'
const unknown = asked.filter((name) => !names.has(name))

if (asked.includes('--help') || asked.includes('-h')) {
  const lines = [...names].toSorted().map(([name, file]) => {
    return `  ${name}  ${firstSentence(headerComment(readFileSync(file, 'utf8')))}`
  })
  process.stdout.write(
    `npm run soak -- <name>: minutes to an hour each; SCALE=0.01 is the short form\n\n${lines.join('\n')}\n`,
  )
  process.exit(0)
}
if (asked.length === 0 || unknown.length > 0) {
  process.stderr.write(
    unknown.length > 0
      ? `no soak is called ${unknown.join(', ')}; there are: ${known}\n`
      : `npm run soak -- <name>: ${known}\n`,
  )
  process.exit(1)
}
const run = spawnSync(
  'vitest',
  ['run', '--project', 'e2e', ...asked.map((name) => names.get(name) as string)],
  {
    stdio: 'inherit',
    env: { SCALE: '1', REQUIRE_ALL: '1', ...process.env },
  },
)
process.exit(run.status ?? 1)
