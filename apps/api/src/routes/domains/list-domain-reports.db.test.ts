/** GET /domains/:id/reports. */
import { parseId } from '@valija/core'
import { keepReport } from '@valija/flows'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { dmarcXml, tlsJson } from '../../../../../tests/support/domain-reports.ts'
import { openTestApi, type TestApi } from '../../open-api.test-support.ts'
import { expectHidden, expectScope } from '../keys/refusals.test-support.ts'

const daySeconds = 86_400
const today = Math.floor(Date.now() / 1000 / daySeconds) * daySeconds
const dayOf = (ago: number) => new Date((today - ago * daySeconds) * 1000).toISOString().slice(0, 10)

let api: TestApi
let id: string
beforeAll(async () => {
  api = await openTestApi()
  id = (await api.ask('POST', '/domains', { body: { name: 'acme.test' } })).json().id
  const forged = { ip: '198.51.100.7', dkim: 'fail', spf: 'fail', disposition: 'reject', count: 5, auth: '' }
  await keep(dmarcXml([{ count: 40 }, forged], { ...time(1), id: 'a' }))
  await keep(dmarcXml([{ count: 55 }], { ...time(2), id: 'b', reporter: 'gmx.net' }))
  const expired = {
    'result-type': 'certificate-expired',
    'receiving-mx-hostname': 'mx.acme.test',
    'failed-session-count': 3,
  }
  await keep(tlsJson([expired], { day: dayOf(1), succeeded: 9 }))
  await keep(tlsJson([], { day: dayOf(3), id: 'c' }))
})
afterAll(() => api.close())

const time = (ago: number) => ({ begin: today - ago * daySeconds, end: today - (ago - 1) * daySeconds - 1 })
async function keep(content: string) {
  const attachments = [{ filename: null, contentType: '', content: Buffer.from(content) }]
  const arrival = { domainId: parseId('domain', id) ?? '', tenantId: null, attachments }
  const { reports } = await keepReport({ database: api.foundation.database }, arrival)
  expect(reports).toMatchObject([{ outcome: 'kept' }])
}
const ask = (query = '') => api.ask('GET', `/domains/${id}/reports${query}`)
const daysOf = async (query: string) =>
  (await ask(query)).json().data.map((entry: { day: string }) => entry.day)

describe('200', () => {
  test('the newest day first, summed up, with what failed, what that means and what to do', async () => {
    const answer = await ask()
    expect(answer.statusCode).toBe(200)
    const { data, next_cursor, totals } = answer.json()
    expect(data.map((entry: { day: string }) => entry.day)).toEqual([dayOf(1), dayOf(2), dayOf(3)])
    expect(next_cursor).toBeNull()
    expect(data[0]).toEqual({
      day: dayOf(1),
      dmarc: {
        reports: 1,
        messages: 45,
        passed: 40,
        pass_share: 0.8889,
        dispositions: { none: 40, quarantine: 0, reject: 5 },
        reporters: [{ name: 'google.com', messages: 45, passed: 40 }],
        failing_sources: [
          {
            ip: '198.51.100.7',
            ours: false,
            header_from: 'acme.test',
            signed_by: null,
            spf_domain: null,
            messages: 5,
            blocked: 5,
            cause: 'unauthenticated',
            meaning: expect.stringContaining('198.51.100.7 sends with acme.test in From'),
            fix: expect.stringContaining('send through Valija'),
          },
        ],
      },
      tls: {
        reports: 1,
        sessions: 12,
        failed: 3,
        success_share: 0.75,
        reporters: [{ name: 'Example Inc.', sessions: 12, failed: 3 }],
        failures: [
          {
            reason: 'certificate-expired',
            mx: 'mx.acme.test',
            policy: 'sts',
            sessions: 3,
            meaning: 'The certificate is out of date.',
            fix: expect.stringContaining('Renew'),
          },
        ],
      },
    })
    expect(data[1]).toMatchObject({ dmarc: { messages: 55, failing_sources: [] }, tls: null })
    expect(data[2]).toMatchObject({ dmarc: null, tls: { sessions: 5 } })
    expect(totals).toMatchObject({
      dmarc: { reports: 2, messages: 100, passed: 95, pass_share: 0.95, failing_sources: [{ messages: 5 }] },
      tls: { reports: 2, sessions: 17, failed: 3 },
    })
  })

  test('page by page, each with the totals of all', async () => {
    const whole = (await ask()).json()
    const seen: unknown[] = []
    for (let cursor: string | null = ''; cursor !== null; ) {
      const page: { data: unknown[]; totals: unknown; next_cursor: string | null } = (
        await ask(`?limit=1${cursor && `&cursor=${cursor}`}`)
      ).json()
      expect(page.totals).toEqual(whole.totals)
      expect(page.data).toHaveLength(1)
      seen.push(...page.data)
      cursor = page.next_cursor
    }
    expect(seen).toEqual(whole.data)
  })

  test('of a span of days, with its totals', async () => {
    expect(await daysOf(`?after=${dayOf(2)}T00:00:00Z`)).toEqual([dayOf(1), dayOf(2)])
    expect(await daysOf(`?before=${dayOf(2)}T00:00:00Z`)).toEqual([dayOf(3)])
    expect(await daysOf(`?before=${dayOf(2)}T00:00:00.001Z`)).toEqual([dayOf(2), dayOf(3)])
    const { totals } = (await ask(`?after=${dayOf(2)}T12:00:00Z&before=${dayOf(1)}T00:00:00Z`)).json()
    expect(totals).toMatchObject({ dmarc: { messages: 55 }, tls: null })
  })

  test('empty while nobody has reported', async () => {
    const other = (await api.ask('POST', '/domains', { body: { name: 'quiet.test' } })).json().id
    const answer = await api.ask('GET', `/domains/${other}/reports`)
    expect(answer.json()).toEqual({ data: [], next_cursor: null, totals: { dmarc: null, tls: null } })
  })
})

describe('400', () => {
  test.each([
    ['after=yesterday', 'after'],
    ['before=2026-02-30T00:00:00Z', 'before'],
    ['cursor=nonsense', 'cursor'],
    [`cursor=${Buffer.from('2026-02-30').toString('base64url')}`, 'cursor'],
    ['limit=0', 'limit'],
    ['day=2026-01-01', 'day'],
  ])('for %s', async (query, path) => {
    expect((await ask(`?${query}`)).json()).toMatchObject({ status: 400, errors: [{ path }] })
  })
})

test('401 and 403 without a key that has the scope read', () =>
  expectScope(api, 'GET', '/domains/dom_x/reports', 'read'))

test('404 hides other tenants’ domains', async () => {
  const foreign = await api.ask('POST', '/domains', { key: api.stranger.key, body: { name: 'a.test' } })
  await expectHidden(api, 'GET', (given) => `/domains/${given}/reports`, foreign.json().id)
})
