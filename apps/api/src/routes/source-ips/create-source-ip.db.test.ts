/** POST /source-ips. */
import { defaultWarmUp } from '@valija/core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { adminKey, openTestApi, type TestApi } from '../../open-api.test-support.ts'
import { expectFault, expectScope } from '../keys/refusals.test-support.ts'

let api: TestApi
beforeAll(async () => {
  api = await openTestApi()
})
afterAll(() => api.close())

const make = (body: object) => api.ask('POST', '/source-ips', { key: adminKey, body })
const source = { address: '192.0.2.10', ehlo_name: 'Mail1.Example.com' }

describe('201', () => {
  test('for an address and its name', async () => {
    const answer = await make(source)
    expect(answer.statusCode).toBe(201)
    expect(answer.json()).toEqual({
      id: expect.stringMatching(/^src_/),
      address: '192.0.2.10',
      bind: '192.0.2.10',
      ipv6: null,
      ehlo_name: 'mail1.example.com',
      pool: 'default',
      weight: 1,
      state: 'enabled',
      warm_up: null,
      health: { status: 'unbound', bound_at: null, blocked_at: null, blocked_reply: null },
      created_at: expect.any(String),
    })
  })

  test('behind a NAT, with IPv6, warming up by the usual schedule', async () => {
    const more = {
      address: '192.0.2.11',
      bind: '10.0.0.11',
      ipv6: '2001:DB8::11',
      pool: 'bulk',
      weight: 5,
      warm_up: true,
    }
    expect((await make({ ...source, ...more })).json()).toMatchObject({
      bind: '10.0.0.11',
      ipv6: '2001:db8::11',
      pool: 'bulk',
      weight: 5,
      warm_up: { caps: defaultWarmUp.caps, max_deferral_rate: 0.1, max_complaint_rate: 0.001, providers: [] },
    })
  })

  test('with a schedule of its own', async () => {
    const warm_up = { caps: [10, 20], max_deferral_rate: 0.2 }
    expect((await make({ ...source, address: '192.0.2.12', warm_up })).json()).toMatchObject({
      warm_up: { caps: [10, 20], max_deferral_rate: 0.2, max_complaint_rate: 0.001 },
    })
  })
})

describe('400 names the place', () => {
  test.each<[string, object, string]>([
    ['no address', { ehlo_name: 'a.test' }, '/address'],
    ['an address that is none', { ...source, address: '192.0.2' }, '/address'],
    ['an IPv6 address as the first', { ...source, address: '2001:db8::1' }, '/address'],
    ['no name', { address: '192.0.2.13' }, '/ehlo_name'],
    ['a name that is none', { ...source, ehlo_name: 'a b' }, '/ehlo_name'],
    ['an address to bind that is none', { ...source, bind: 'eth0' }, '/bind'],
    ['an IPv6 address with a zone', { ...source, ipv6: 'fe80::1%eth0' }, '/ipv6'],
    ['a pool that is none', { ...source, pool: 'A b' }, '/pool'],
    ['weight 0', { ...source, weight: 0 }, '/weight'],
    ['caps that fall', { ...source, warm_up: { caps: [10, 5] } }, '/warm_up/caps/1'],
    ['no caps', { ...source, warm_up: { caps: [] } }, '/warm_up/caps'],
    ['an unknown field of the schedule', { ...source, warm_up: { days: 5 } }, '/warm_up/days'],
  ])('of %s', (_, body, path) => expectFault(api, 'POST', '/source-ips', body, path, { key: adminKey }))
})

test('401 and 403 for everybody but the operator', () =>
  expectScope(api, 'POST', '/source-ips', 'operator', source))

test('409 for an address that is there', async () => {
  const twice = { ...source, address: '192.0.2.99' }
  expect((await make(twice)).statusCode).toBe(201)
  expect((await make(twice)).json()).toMatchObject({ status: 409, code: 'conflict' })
})
