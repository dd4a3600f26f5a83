/** GET /tls-report. */
import { addTlsReports } from '@valija/store'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { adminKey, openTestApi, type TestApi } from '../../open-api.test-support.ts'
import { expectScope } from '../keys/refusals.test-support.ts'

let api: TestApi
beforeAll(async () => {
  api = await openTestApi()
  const { engine } = api.foundation.database
  const count = { policy: 'sts', mx: 'mx.example.com', result: 'success', sessions: 7 } as const
  await addTlsReports(engine, [{ ...count, domain: 'example.com' }])
  await engine.query(`UPDATE valija.tls_reports SET day = '2026-01-31'`)
  await addTlsReports(engine, [
    { ...count, domain: 'example.com', result: 'certificate-expired', sessions: 2 },
    { ...count, domain: 'example.org', policy: 'no-policy-found' },
  ])
})
afterAll(() => api.close())

const ask = (query = '') => api.ask('GET', `/tls-report${query}`, { key: adminKey })
const today = () => new Date().toISOString().slice(0, 10)

describe('200', () => {
  test('the newest day first, with what applied and how it went', async () => {
    const answer = await ask()
    expect(answer.statusCode).toBe(200)
    const [first, ...others] = answer.json().data
    const expired = {
      domain: 'example.com',
      policy: 'sts',
      mx: 'mx.example.com',
      result: 'certificate-expired',
    }
    expect(first).toEqual({ day: today(), ...expired, sessions: 2 })
    expect(others).toMatchObject([
      { day: today(), domain: 'example.org', policy: 'no-policy-found' },
      { day: '2026-01-31', result: 'success', sessions: 7 },
    ])
    expect(answer.json().next_cursor).toBeNull()
  })

  test('page by page', async () => {
    const seen: unknown[] = []
    for (let cursor: string | null = ''; cursor !== null; ) {
      const page = await ask(`?limit=1${cursor && `&cursor=${cursor}`}`)
      seen.push(...page.json().data)
      cursor = page.json().next_cursor
    }
    expect(seen).toEqual((await ask()).json().data)
  })

  test('of one domain, of one day', async () => {
    expect((await ask('?domain=EXAMPLE.com')).json().data).toHaveLength(2)
    expect((await ask('?domain=example.com&day=2026-01-31')).json().data).toHaveLength(1)
    expect((await ask('?day=2026-02-01')).json().data).toEqual([])
  })
})

describe('400', () => {
  const cursorOf = (text: string) => Buffer.from(text).toString('base64url')
  test.each([
    ['day=yesterday', 'day'],
    ['day=2026-02-30', 'day'],
    ['domain=%00', 'domain'],
    ['cursor=nonsense', 'cursor'],
    [`cursor=${cursorOf('2026-01-01 a')}`, 'cursor'],
    [`cursor=${cursorOf('2026-02-30 a sts b success')}`, 'cursor'],
    [`cursor=${cursorOf('2026-01-01 a sts \0 success')}`, 'cursor'],
    ['day=0000-01-01', 'day'],
    ['mx=x', 'mx'],
  ])('for %s', async (query, path) => {
    expect((await ask(`?${query}`)).json()).toMatchObject({ status: 400, errors: [{ path }] })
  })
})

test('401 and 403 for everybody but the operator', () => expectScope(api, 'GET', '/tls-report', 'operator'))
