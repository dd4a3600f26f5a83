import { describe, expect, test } from 'vitest'
import { TurnLine } from './turn-line.ts'

const lineOf = (...names: string[]) => {
  const line = new TurnLine<{ turn: string; name: string }>()
  for (const name of names) line.push({ turn: name[0] ?? '', name })
  return line
}

describe('a line with turns', () => {
  test('serves a party with one entry next, however many another has in front of it', () => {
    const line = lineOf('a1', 'a2', 'a3', 'a4', 'b1')
    expect(line.takeAll().map(({ name }) => name)).toEqual(['a1', 'b1', 'a2', 'a3', 'a4'])
  })

  test('keeps the order inside a party, and takes turns between those that have something', () => {
    const line = lineOf('a1', 'b1', 'b2', 'c1', 'a2')
    expect(line.length).toBe(5)
    expect(line.peek()?.name).toBe('a1')
    expect([line.shift(), line.shift()].map((entry) => entry?.name)).toEqual(['a1', 'b1'])
    line.push({ turn: 'd', name: 'd1' })
    expect(line.takeAll().map(({ name }) => name)).toEqual(['c1', 'a2', 'b2', 'd1'])
    expect(line.length).toBe(0)
    expect(line.shift()).toBeUndefined()
    expect(line.peek()).toBeUndefined()
  })

  test('gives what was put back the very next turn', () => {
    const line = lineOf('a1', 'a2', 'b1')
    const first = line.shift()!
    line.putBack(first)
    expect(line.length).toBe(3)
    expect(line.takeAll().map(({ name }) => name)).toEqual(['a1', 'b1', 'a2'])
  })

  test('loses what stands behind a place, by turns, and the others keep theirs', () => {
    const line = lineOf('a1', 'a2', 'a3', 'b1', 'b2')
    expect(line.takeBehind(5)).toEqual([])
    expect(line.takeBehind(3).map(({ name }) => name)).toEqual(['b2', 'a3'])
    expect(line.length).toBe(3)
    expect(line.takeAll().map(({ name }) => name)).toEqual(['a1', 'b1', 'a2'])
  })

  test('loses those that are meant, and the others keep their turns', () => {
    const line = lineOf('a1', 'a2', 'b1', 'c1')
    expect(line.takeWhere(({ name }) => name === 'a1' || name === 'b1').map(({ name }) => name)).toEqual([
      'a1',
      'b1',
    ])
    expect(line.length).toBe(2)
    expect(line.takeAll().map(({ name }) => name)).toEqual(['a2', 'c1'])
  })
})
