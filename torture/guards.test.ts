import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { changeSource, guards, type SourceChange } from './guards.ts'

const root = join(import.meta.dirname, '..')

test.each(Object.entries(guards))('the guard %s is found in the sources as they are', (_, changes) => {
  for (const change of changes as readonly SourceChange[]) {
    const text = readFileSync(join(root, change.file), 'utf8')
    const changed = changeSource(change.file, text, [change])
    expect(changed).toContain(change.new)
    expect(changed.split('\n')).toHaveLength(text.split('\n').length)
  }
})

test('a guard that is not there exactly once stops the run', () => {
  const change = { file: 'a.ts', old: 'x', new: 'y' }
  expect(() => changeSource('a.ts', 'a', [change])).toThrow('0 times')
  expect(() => changeSource('a.ts', 'x x', [change])).toThrow('2 times')
  expect(changeSource('b.ts', 'x x', [change])).toBe('x x')
})
