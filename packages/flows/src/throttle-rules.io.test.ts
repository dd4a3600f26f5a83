import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { limitsFor } from '@valija/core'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { until } from '../../../tests/support/until.ts'
import { loadThrottleRules, type ThrottleRules } from './throttle-rules.ts'

let folder: string
let file: string
let rules: ThrottleRules | undefined
let errors: Error[]
let reloads: number
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'valija-shaping-'))
  file = path.join(folder, 'shaping.yaml')
  errors = []
  reloads = 0
})
afterEach(async () => {
  rules?.stop()
  await rm(folder, { recursive: true })
})

const load = async (name: string | null = file) => {
  rules = await loadThrottleRules({
    file: name,
    onError: (error) => errors.push(error),
    onReload: () => {
      reloads += 1
    },
  })
  return rules
}
const unknown = (from: ThrottleRules) => limitsFor(from.current(), { provider: null, kind: 'mx' }).connections

test('the shipped rules hold without a file of the operator', async () => {
  const loaded = await load()
  expect(unknown(loaded)).toBe(10)
  expect(loaded.findProvider({ domain: 'gmail.com', exchangers: ['gmail-smtp-in.l.google.com'] })).toEqual({
    name: 'google',
    isWide: true,
    isTlsRequired: true,
  })
  expect(loaded.findProvider({ domain: 'a.test', exchangers: ['mx.a.test'] })).toBeNull()
})

test('a file that comes, changes and goes is followed without a restart', async () => {
  const loaded = await load()
  let told = 0
  loaded.onChange(() => {
    told += 1
  })
  await writeFile(file, 'unknown: { connections: 3 }')
  await until('the new file is read', () => unknown(loaded) === 3)
  await writeFile(file, 'unknown: { connections: 44 }')
  await until('the change is read', () => unknown(loaded) === 44)
  await rm(file)
  await until('its end is noticed', () => unknown(loaded) === 10)
  expect(told).toBe(3)
  expect(reloads).toBe(3)
}, 60_000)

test('a file that is broken later is told of, and the last good rules go on', async () => {
  await writeFile(file, 'unknown: { connections: 3 }')
  const loaded = await load()
  await writeFile(file, 'unknown: { connections: none }')
  await until('the fault is told', () => errors.length > 0)
  expect(errors[0]?.message).toContain('shaping.yaml:1 unknown.connections: is a whole number')
  expect(unknown(loaded)).toBe(3)
  await writeFile(file, 'unknown: { connections: 5 }')
  await until('it is mended', () => unknown(loaded) === 5)
  expect(errors).toHaveLength(1)
}, 60_000)

test('a file that is broken at the start refuses the start, with its faults', async () => {
  await writeFile(file, 'providers: { a: { rate: fast } }')
  await expect(load()).rejects.toThrow(/providers\.a\.rate: is mails per second/)
})
