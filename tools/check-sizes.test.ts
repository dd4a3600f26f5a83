/** Shows the size check red just above each limit and green just at it. */
import { describe, expect, it } from 'vitest'
import { checkSizes } from './check-sizes.ts'
import { temporaryTree } from './temporary-tree.test-support.ts'

const statements = (lines: number) => 'x()\n'.repeat(lines)
/** A function whose first and last line are its braces. */
const functionOf = (lines: number, head = 'function long() {') => `${head}\n${statements(lines - 2)}}\n`

function messagesFor(path: string, content: string) {
  const { findings, notes } = checkSizes(temporaryTree({ [path]: content }))
  return { findings: findings.map(({ message }) => message), notes: notes.map(({ message }) => message) }
}

describe('files', () => {
  it('are refused above 600 lines and noted above 400', () => {
    expect(messagesFor('packages/core/src/a.ts', statements(601)).findings).toEqual([
      'has 601 lines; at most 600',
    ])
    expect(messagesFor('packages/core/src/a.ts', statements(600)).findings).toEqual([])
    expect(messagesFor('packages/core/src/a.ts', statements(401)).notes).toEqual([
      'has 401 lines; aim for 400',
    ])
    expect(messagesFor('packages/core/src/a.ts', statements(400)).notes).toEqual([])
  })

  it('are refused as endpoints above 150 lines, their tests above 600', () => {
    const folder = 'apps/api/src/routes/messages'
    expect(messagesFor(`${folder}/send.ts`, statements(151)).findings).toEqual(['has 151 lines; at most 150'])
    expect(messagesFor(`${folder}/send.ts`, statements(150)).findings).toEqual([])
    expect(messagesFor(`${folder}/send.test.ts`, statements(600)).findings).toEqual([])
    expect(messagesFor(`${folder}/send.test.ts`, statements(601)).findings).toHaveLength(1)
  })

  it('are exempt when a generator wrote them', () => {
    expect(messagesFor('packages/store/src/generated/a.ts', statements(5000)).findings).toEqual([])
  })
})

describe('functions', () => {
  it.each([
    ['a declaration', 'function long() {', 'long'],
    ['an arrow function', 'const long = () => {', 'long'],
    ['a method', 'class A { long() {', 'long'],
    ['an unnamed callback', 'call(() => {', 'this function'],
  ])('are refused above 70 lines: %s', (_name, head, name) => {
    const close = head.startsWith('class') ? '}' : head.startsWith('call') ? ')' : ''
    const refused = `${name} has 71 lines; a function has at most 70`
    expect(messagesFor('packages/core/src/a.ts', functionOf(71, head).trimEnd() + close).findings).toEqual([
      refused,
    ])
    expect(messagesFor('packages/core/src/a.ts', functionOf(70, head).trimEnd() + close).findings).toEqual([])
  })

  it('do not count the comment above them', () => {
    const comment = `/**\n${' * why\n'.repeat(40)} */\n`
    expect(messagesFor('packages/core/src/a.ts', comment + functionOf(70)).findings).toEqual([])
  })

  it.each(['describe', 'describe.skipIf(x)', 'describe.each([1])'])(
    'are exempt as the callback of %s',
    (callee) => {
      const close = ')\n'
      const path = 'packages/core/src/a.test.ts'
      expect(messagesFor(path, functionOf(200, `${callee}('name', () => {`) + close).findings).toEqual([])
      expect(messagesFor(path, functionOf(200, `it('name', () => {`) + close).findings).toHaveLength(1)
    },
  )
})
