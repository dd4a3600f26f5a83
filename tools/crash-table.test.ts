/** The crash table of docs/ARCHITECTURE.md: what a row says has a test, and the row names it. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { expect, test } from 'vitest'
import { repositoryRoot } from './source-tree.ts'

const text = readFileSync(path.join(repositoryRoot, 'docs/ARCHITECTURE.md'), 'utf8')
const chapter = text.slice(text.indexOf('## What a crash leaves')).split('\n## ')[0]!
/** The rows of both tables, without their heads. */
const rows = chapter
  .split('\n')
  .filter((line) => /^\| (?!---|killed between|what goes)/.test(line) && !/^\|-/.test(line))
const files = readdirSync(path.join(repositoryRoot, 'tests'))

/** What a row names: numbers of end-to-end tests, and paths as `store/wake.db.test.ts`. */
function namedIn(row: string): { name: string; isThere: boolean }[] {
  const numbers = [...row.matchAll(/\bt-\d\d\b/g)].map(([name]) => ({
    name,
    isThere: files.some((file) => file.startsWith(`${name}-`) && file.endsWith('.test.ts')),
  }))
  const paths = [...row.matchAll(/`(\w+)\/([\w/.-]+\.test\.ts)`/g)].map(([name, workspace, file]) => ({
    name,
    isThere: existsSync(path.join(repositoryRoot, 'packages', workspace!, 'src', file!)),
  }))
  return [...numbers, ...paths]
}

test('every row of the crash table names a test, and each test that is named is there', () => {
  expect(rows.length).toBeGreaterThan(30)
  expect(rows.filter((row) => namedIn(row).length === 0)).toEqual([])
  expect(rows.flatMap(namedIn).filter(({ isThere }) => !isThere)).toEqual([])
})
