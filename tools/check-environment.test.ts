/** Shows the environment check red for every way to the environment, and green where it may be read. */
import { expect, it } from 'vitest'
import { checkEnvironment } from './check-environment.ts'
import { temporaryTree } from './temporary-tree.test-support.ts'

const linesFor = (path: string, content: string) =>
  checkEnvironment(temporaryTree({ [path]: content })).map(({ line }) => line)

it.each([
  `process.env.PORT`,
  `globalThis.process.env.PORT`,
  `const all = process.env`,
  `process['env']`,
  `const { env } = process`,
  `const { env: all } = process`,
  `import { env } from 'node:process'`,
  `import { env as all } from 'process'`,
])('refuses %s in product code, and names the line', (content) => {
  expect(linesFor('packages/core/src/a.ts', `\n${content}\n`)).toEqual([2])
  expect(linesFor('apps/api/src/a.ts', content)).toEqual([1])
})

it.each([
  'packages/runtime/src/config.ts',
  'packages/core/src/a.test.ts',
  'tests/t-01.test.ts',
  'tools/a.ts',
  'bench/a.ts',
])('lets %s read it', (path) => {
  expect(linesFor(path, 'process.env.PORT')).toEqual([])
})

it.each([
  `// process.env`,
  `const s = 'process.env'`,
  `job.env`,
  `process.exit()`,
  `const { pid } = process`,
])('does not mistake %s for it', (content) => {
  expect(linesFor('packages/core/src/a.ts', content)).toEqual([])
})
