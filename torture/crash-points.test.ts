import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { type CrashPoint, markAwaits, wayOfAMail } from './crash-points.ts'

const root = join(import.meta.dirname, '..')

function mark(text: string): { marked: string; names: string[] } {
  const points: CrashPoint[] = []
  const marked = markAwaits('a.ts', text, points)
  return { marked, names: points.map(({ name }) => name) }
}

test('every await has a point before and one after it, named by where it is', () => {
  const { marked, names } = mark('const a = 1\nawait one(await two())\n')
  expect(marked).toBe(
    'const a = 1\n__torture.after(1, (__torture.before(0), await one(__torture.after(3, (__torture.before(2), await two())))))\n',
  )
  expect(names).toEqual(['a.ts:2:1 before', 'a.ts:2:1 after', 'a.ts:2:11 before', 'a.ts:2:11 after'])
})

test('what `for await` goes through has its points, and no line is added', () => {
  const { marked } = mark('for await (const a of b) {\n  c(a)\n}\n')
  expect(marked).toBe('for await (const a of __torture.after(1, (__torture.before(0), b))) {\n  c(a)\n}\n')
})

test('a marked text does what it did', async () => {
  const passed: string[] = []
  const __torture = {
    before: (point: number) => void passed.push(`before ${point}`),
    after: <T>(point: number, value: T) => {
      passed.push(`after ${point}`)
      return value
    },
  }
  const { marked } = mark('const a = await Promise.resolve(20)\nreturn a + (await Promise.resolve(22))')
  const run = new Function('__torture', `return (async () => {\n${marked}\n})()`)
  expect(await run(__torture)).toBe(42)
  expect(passed).toEqual(['before 0', 'after 1', 'before 2', 'after 3'])
})

test('every file on the way of a mail is where it is said to be', () => {
  expect(wayOfAMail.filter((file) => !existsSync(join(root, file)))).toEqual([])
})
