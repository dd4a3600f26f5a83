import type { Stream } from '@valija/core'
import { describe, expect, test } from 'vitest'
import { TurnLine } from './turn-line.ts'

const weights: Record<string, number> = { h: 3 }
/** `a1` is tenant a's, `h` is a tenant of weight 3, and `A1` is bulk mail of a. */
const entryOf = (name: string) => {
  const tenantId = name[0]?.toLowerCase() ?? ''
  const stream: Stream = name[0] === tenantId ? 'transactional' : 'bulk'
  return { turn: { tenantId, weight: weights[tenantId] ?? 1, stream }, name }
}
const lineOf = (...names: string[]) => {
  const line = new TurnLine<ReturnType<typeof entryOf>>()
  for (const name of names) line.push(entryOf(name))
  return line
}
const many = (party: string, count: number) => Array.from({ length: count }, (_, index) => `${party}${index}`)
const namesOf = (entries: { name: string }[]) => entries.map(({ name }) => name)

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
    line.push(entryOf('d1'))
    expect(line.takeAll().map(({ name }) => name)).toEqual(['c1', 'd1', 'a2', 'b2'])
    expect(line.length).toBe(0)
    expect(line.shift()).toBeUndefined()
    expect(line.peek()).toBeUndefined()
  })

  test('gives a tenant of weight 3 three turns for one, and transactional mail four for one of bulk', () => {
    const shares = (line: TurnLine<ReturnType<typeof entryOf>>, count: number) => {
      const first = namesOf(Array.from({ length: count }, () => line.shift()!))
      return Object.entries(Object.groupBy(first, (name) => name[0]!)).map(([party, own]) => [
        party,
        own?.length,
      ])
    }
    expect(shares(lineOf(...many('a', 100), ...many('h', 100)), 80)).toEqual([
      ['a', 20],
      ['h', 60],
    ])
    expect(shares(lineOf(...many('A', 100), ...many('a', 100)), 50)).toEqual([
      ['A', 10],
      ['a', 40],
    ])
    // Two streams give a tenant no more than another has with one.
    const mixed = shares(lineOf(...many('A', 100), ...many('a', 100), ...many('b', 100)), 100)
    expect(mixed).toEqual([
      ['A', 10],
      ['b', 50],
      ['a', 40],
    ])
  })

  test('owes nothing to who was away, and forgets nothing of who left a moment ago', () => {
    const line = lineOf(...many('h', 400))
    for (let turn = 0; turn < 300; turn += 1) line.shift()
    line.push(entryOf('a1'))
    line.push(entryOf('a2'))
    expect(namesOf(line.takeAll()).slice(0, 6)).toEqual(['a1', 'h300', 'h301', 'h302', 'a2', 'h303'])
    // One mail at a time is not a way to get more turns than one's weight gives.
    const busy = lineOf(...many('h', 400), 'a0')
    let served = 0
    for (let turn = 0; turn < 100; turn += 1) {
      if (busy.shift()?.turn.tenantId !== 'a') continue
      served += 1
      busy.push(entryOf(`a${served}`))
    }
    expect(served).toBe(25)
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
