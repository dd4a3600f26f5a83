/** POST /webhooks/:id/rotate-secret. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openTestApi, type TestApi } from '../../open-api.test-support.ts'
import { expectFault, expectHidden, expectScope } from '../keys/refusals.test-support.ts'

let api: TestApi
beforeAll(async () => {
  api = await openTestApi()
})
afterAll(() => api.close())

const add = async (key = api.tenant.key) =>
  (await api.ask('POST', '/webhooks', { key, body: { url: 'https://a.test', events: ['*'] } })).json()

const rotate = (id: string, body?: object) =>
  api.ask('POST', `/webhooks/${id}/rotate-secret`, body === undefined ? {} : { body })
const untilOf = async (id: string) => (await api.ask('GET', `/webhooks/${id}`)).json().former_secret_until
const hoursAhead = (time: string) => (Date.parse(time) - Date.now()) / 3_600_000

describe('200', () => {
  test('shows a new secret once, and until when the former signs as well: a day, unless it is said', async () => {
    const { id, secret } = await add()
    expect(await untilOf(id)).toBeNull()
    const answer = await rotate(id)
    expect(answer.statusCode).toBe(200)
    const { secret: next, former_secret_until } = answer.json()
    expect(next).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/)
    expect(next).not.toBe(secret)
    expect(hoursAhead(former_secret_until)).toBeCloseTo(24, 1)
    const shown = (await api.ask('GET', `/webhooks/${id}`)).json()
    expect(shown.former_secret_until).toBe(former_secret_until)
    expect(shown).not.toHaveProperty('secret')
    expect(hoursAhead((await rotate(id, { overlap_seconds: 3_600 })).json().former_secret_until)).toBeCloseTo(
      1,
      1,
    )
  })

  test('without an overlap no former secret signs any more', async () => {
    const { id } = await add()
    await rotate(id)
    expect((await rotate(id, { overlap_seconds: 0 })).json().former_secret_until).toBeNull()
    expect(await untilOf(id)).toBeNull()
  })

  test('again during an overlap: older secrets sign no longer than promised, and than the new overlap', async () => {
    const { id } = await add()
    await rotate(id, { overlap_seconds: 7_200 })
    await rotate(id, { overlap_seconds: 36_000 })
    await rotate(id, { overlap_seconds: 18_000 })
    const { rows } = await api.foundation.database.engine.query(
      `SELECT ARRAY(SELECT round(extract(epoch FROM ends_at - now()) / 3600)::integer
         FROM unnest(former_secrets_end) WITH ORDINALITY AS former (ends_at, place) ORDER BY place) AS hours
       FROM valija.webhooks WHERE id = $1`,
      [id.slice(4)],
    )
    expect(rows[0].hours).toEqual([5, 5, 2])
  })

  test('replaces secrets that no key of this installation opens', async () => {
    const { id } = await add()
    await api.foundation.database.engine.query(`UPDATE valija.webhooks SET secret = 'lost' WHERE id = $1`, [
      id.slice(4),
    ])
    expect((await rotate(id)).statusCode).toBe(200)
  })
})

test('400 names what is wrong', async () => {
  const { id } = await add()
  const path = `/webhooks/${id}/rotate-secret`
  await expectFault(api, 'POST', path, { overlap_seconds: -1 }, '/overlap_seconds')
  await expectFault(api, 'POST', path, { overlap_seconds: 7 * 86_400 + 1 }, '/overlap_seconds')
  await expectFault(api, 'POST', path, { overlap: 1 }, '/overlap')
})

test('409 when five secrets sign already, until they are all ended', async () => {
  const { id } = await add()
  for (let i = 0; i < 4; i++) expect((await rotate(id)).statusCode).toBe(200)
  const refused = await rotate(id)
  expect(refused.json()).toMatchObject({
    status: 409,
    code: 'conflict',
    detail: expect.stringContaining('overlap_seconds'),
  })
  expect((await rotate(id, { overlap_seconds: 0 })).statusCode).toBe(200)
  expect((await rotate(id)).statusCode).toBe(200)
})

test('401 and 403 without a key that has the scope manage', () =>
  expectScope(api, 'POST', '/webhooks/whk_x/rotate-secret', 'manage'))

test('404 hides other tenants’ webhooks', async () =>
  expectHidden(api, 'POST', (id) => `/webhooks/${id}/rotate-secret`, (await add(api.stranger.key)).id))
