import { describe, expect, test } from 'vitest'
import { createIdSource, formatId, lowestUuidAt, parseId, uuidTimeMs } from './ids.ts'

describe('an id', () => {
  test('is its prefix and 32 hex digits, and reads back', () => {
    const uuid = createIdSource(() => 1_700_000_000_000)()
    const id = formatId('message', uuid)
    expect(id).toMatch(/^msg_[0-9a-f]{32}$/)
    expect(parseId('message', id)).toBe(uuid)
  })

  test('of another kind, in capitals, or with anything added is unknown', () => {
    const id = formatId('message', lowestUuidAt(0))
    for (const bad of [
      id.replace('msg', 'rcp'),
      id.toUpperCase(),
      `${id}0`,
      id.slice(1),
      ` ${id}`,
      '',
      'msg_',
    ]) {
      expect(parseId('message', bad)).toBeNull()
    }
  })

  test('is a version 7 UUID of the given time', () => {
    const uuid = createIdSource(() => 1_700_000_000_123)()
    expect(uuid).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
    expect(uuidTimeMs(uuid)).toBe(1_700_000_000_123)
  })

  test('is greater than the one before it, also within one millisecond and when the clock goes back', () => {
    let now = 1_700_000_000_000
    const next = createIdSource(() => now)
    const ids: string[] = []
    for (let i = 0; i < 10_000; i++) {
      if (i === 6_000) now -= 5_000
      ids.push(next())
    }
    expect([...ids].sort()).toEqual(ids)
    expect(new Set(ids).size).toBe(ids.length)
  })

  test('follows a clock that was set back by more than moments', () => {
    let now = 1_700_000_000_000
    const next = createIdSource(() => now)
    next()
    now -= 3_600_000
    expect(uuidTimeMs(next())).toBe(now)
  })

  test('made at a time is not below the lowest of that time, and below that of the next millisecond', () => {
    const uuid = createIdSource(() => 1_700_000_000_000)()
    expect(uuid >= lowestUuidAt(1_700_000_000_000)).toBe(true)
    expect(uuid < lowestUuidAt(1_700_000_000_001)).toBe(true)
  })
})
