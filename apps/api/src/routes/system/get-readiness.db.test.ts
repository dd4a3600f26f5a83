/** GET /readyz, by status. */
import { afterEach, describe, expect, test } from 'vitest'
import type { Readiness } from '../../dependencies.ts'
import { openTestApi, type TestApi } from '../../open-api.test-support.ts'

let api: TestApi | undefined

afterEach(() => api?.close())

async function ask(readiness: Readiness) {
  api = await openTestApi({ delivery: 'smarthost' }, { readiness: async () => readiness })
  return api.ask('GET', '/readyz', { key: null })
}
const database = { name: 'database', isOk: true, detail: 'PostgreSQL answers.' }
const queue = { name: 'queue', isOk: false, detail: 'The queue is away.' }

describe('200', () => {
  test('tells where mail goes and what was checked', async () => {
    const answer = await ask({ isReady: true, checks: [database] })
    expect(answer.statusCode).toBe(200)
    expect(answer.json()).toEqual({
      status: 'ready',
      delivery: 'smarthost',
      checks: [{ name: 'database', ok: true, detail: 'PostgreSQL answers.' }],
    })
  })

  test('what is degraded and still accepts mail is told, not taken out of service', async () => {
    const answer = await ask({ isReady: true, checks: [database, queue] })
    expect([answer.statusCode, answer.json().status]).toEqual([200, 'degraded'])
  })
})

describe('503', () => {
  test('when a send would fail', async () => {
    const answer = await ask({ isReady: false, checks: [{ ...database, isOk: false }] })
    expect([answer.statusCode, answer.json().status]).toEqual([503, 'not_ready'])
  })
})
