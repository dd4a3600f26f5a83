/** The life of an MTA-STS policy, with a real DNS server and a real HTTPS policy host. */
import type { RequestListener } from 'node:http'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { policyAnswer, policyText } from '../../../../tests/support/policy-host.ts'
import { openReceiverWorld, type ReceiverWorld, ttlSeconds } from '../testing/receiver-world.ts'
import { createStsPolicies, type StsPolicies } from './mta-sts.ts'

const minute = 60_000
const day = 86_400_000
const txt = '_mta-sts.example.com'

let world: ReceiverWorld
let policies: StsPolicies
beforeEach(async () => {
  world = await openReceiverWorld()
  world.host.answer = policyAnswer(policyText('enforce', ['mx.example.com']))
  policies = worker()
})
afterEach(() => world.close())

function worker(): StsPolicies {
  const { policyPort, ...parts } = world.parts()
  return createStsPolicies({ ...parts, port: policyPort })
}

const ask = (by = policies) => by.policyOf('example.com')
const publish = (id: string, ...text: [string, string[], number?]) => {
  world.dns.set(txt, 'TXT', [`v=STSv1; id=${id}`])
  world.host.answer = policyAnswer(policyText(...text))
  // What the resolver keeps is over.
  world.pass((ttlSeconds + 1) * 1000)
}
const enforcing = { kind: 'policy', policy: { mode: 'enforce', mx: ['mx.example.com'] } }
const none = { kind: 'none', fault: null }
const fetches = () => world.host.requests.length

describe('a policy', () => {
  test('is fetched once, kept, and used by all workers', async () => {
    expect(await ask()).toMatchObject(enforcing)
    expect(await ask()).toMatchObject(enforcing)
    expect(await ask(worker())).toMatchObject(enforcing)
    expect(fetches()).toBe(1)
    expect(world.kept.rows.get('example.com')).toMatchObject({ id: '1', maxAgeSeconds: 604_800 })
  })

  test('is looked up once by many mails at once', async () => {
    const answers = await Promise.all(Array.from({ length: 50 }, () => ask()))
    expect(answers.every(({ kind }) => kind === 'policy')).toBe(true)
    expect([fetches(), world.dns.count(txt, 'TXT'), world.kept.reads]).toEqual([1, 1, 1])
  })

  test('is not asked of PostgreSQL by every mail', async () => {
    for (let i = 0; i < 20; i += 1) await ask()
    expect(world.kept.reads).toBe(1)
  })

  test('with a new id is fetched at once', async () => {
    await ask()
    publish('2', 'testing', ['mx.example.com'])
    expect(await ask()).toMatchObject({ kind: 'policy', policy: { mode: 'testing' } })
    expect(world.kept.rows.get('example.com')?.id).toBe('2')
  })

  test('that another worker has fetched meanwhile is not fetched again', async () => {
    const other = worker()
    await ask()
    await ask(other)
    publish('2', 'enforce', ['mx2.example.com'])
    expect(await ask(other)).toMatchObject({ policy: { mx: ['mx2.example.com'] } })
    expect(await ask()).toMatchObject({ policy: { mx: ['mx2.example.com'] } })
    expect(fetches()).toBe(2)
  })

  test('is withdrawn by one of mode none', async () => {
    await ask()
    publish('2', 'none', [])
    expect(await ask()).toEqual(none)
  })

  test('is not asked for where no record announces one', async () => {
    world.dns.remove(txt)
    expect(await ask()).toEqual(none)
    expect(fetches()).toBe(0)
  })

  test.each([
    ['two records (RFC 8461 §3.1)', ['v=STSv1; id=1', 'v=STSv1; id=2']],
    ['no id', ['v=STSv1;']],
    ['another version', ['v=STSv2; id=1']],
    ['an id with odd characters', ['v=STSv1; id=a-b']],
  ])('is not announced by %s', async (_, records) => {
    world.dns.set(txt, 'TXT', records)
    expect(await ask()).toEqual(none)
    expect(fetches()).toBe(0)
  })

  test('is announced beside records of others, and through an alias', async () => {
    world.dns.remove(txt)
    world.dns.set(txt, 'CNAME', ['sts.host.example'])
    world.dns.set('sts.host.example', 'TXT', ['hello', 'v=STSv1; id=9;'])
    expect(await ask()).toMatchObject(enforcing)
  })
})

describe('a stored policy goes on (RFC 8461 §3.3)', () => {
  beforeEach(async () => {
    expect(await ask()).toMatchObject(enforcing)
  })
  const wait = () => world.pass(2 * minute)

  test('when the record is gone', async () => {
    world.dns.remove(txt)
    wait()
    expect(await ask()).toMatchObject(enforcing)
    expect(await ask(worker())).toMatchObject(enforcing)
  })

  test('when the record cannot be looked up', async () => {
    world.dns.behaviour = { [txt]: 'servfail' }
    wait()
    expect(await ask(worker())).toMatchObject(enforcing)
  })

  const answerWith = (answer: RequestListener) => () => {
    world.host.answer = answer
  }
  test.each<[string, () => void]>([
    ['the new one cannot be fetched', () => world.host.close()],
    ['the new one is invalid', answerWith(policyAnswer('mode: none'))],
    ['the policy host answers with an error', answerWith((_, response) => response.writeHead(500).end())],
  ])('when %s', async (_, spoil) => {
    publish('2', 'none', [])
    spoil()
    expect(await ask()).toMatchObject(enforcing)
    expect(await ask(worker())).toMatchObject(enforcing)
  })

  test('and ends with its max_age', async () => {
    world.dns.remove(txt)
    world.pass(604_799_000)
    expect(await ask()).toMatchObject(enforcing)
    world.pass(1_000)
    expect(await ask()).toEqual(none)
    expect(await ask(worker())).toEqual(none)
  })

  test('and is renewed in the background long before, so that it never ends in use', async () => {
    world.pass(day + 1)
    world.host.answer = policyAnswer(policyText('enforce', ['mx.example.com', 'mx2.example.com']))
    const savedAt = world.kept.rows.get('example.com')?.savedAtMs ?? 0
    expect(await ask()).toMatchObject(enforcing)
    await expect.poll(() => world.kept.rows.get('example.com')?.savedAtMs).toBe(savedAt + day + 1)
    expect(await ask()).toMatchObject({ policy: { mx: ['mx.example.com', 'mx2.example.com'] } })
  })
})

describe('a policy host that fails', () => {
  test('is asked again after five minutes, not by every mail; nor is PostgreSQL', async () => {
    world.host.answer = (_, response) => response.writeHead(404).end()
    for (let i = 0; i < 10; i += 1)
      expect(await ask()).toEqual({ kind: 'none', fault: 'sts-policy-fetch-error' })
    expect([fetches(), world.kept.reads]).toEqual([1, 1])
    world.pass(4 * minute)
    await ask()
    expect(fetches()).toBe(1)
    world.pass(2 * minute)
    world.host.answer = policyAnswer(policyText('enforce', ['mx.example.com']))
    expect(await ask()).toMatchObject(enforcing)
  })

  test('is asked at once for a new id', async () => {
    world.host.answer = policyAnswer('nonsense')
    expect(await ask()).toEqual({ kind: 'none', fault: 'sts-policy-invalid' })
    publish('2', 'enforce', ['mx.example.com'])
    expect(await ask()).toMatchObject(enforcing)
  })

  test('by its certificate is told so', async () => {
    const { policyPort, ...parts } = world.parts()
    world.dns.set('mta-sts.other.example', 'A', ['127.0.0.1'])
    world.dns.set('_mta-sts.other.example', 'TXT', ['v=STSv1; id=1'])
    const answer = await createStsPolicies({ ...parts, port: policyPort }).policyOf('other.example')
    expect(answer).toEqual({ kind: 'none', fault: 'sts-webpki-invalid' })
  })

  test('without an address has none', async () => {
    world.dns.remove('mta-sts.example.com')
    expect(await ask()).toEqual({ kind: 'none', fault: 'sts-policy-fetch-error' })
  })
})

test('what could not be fetched for want of a socket here is fetched for the next mail, and nobody sends without meanwhile', async () => {
  const { policyPort, ...parts } = world.parts()
  let isFull = true
  const http: typeof parts.http = {
    ...parts.http,
    get: async (...asked) =>
      isFull
        ? {
            kind: 'failure',
            code: 'no_socket',
            durationMs: 0,
            message: 'this process could open no connection',
          }
        : await parts.http.get(...asked),
  }
  const full = createStsPolicies({ ...parts, http, port: policyPort })
  expect(await ask(full)).toMatchObject({ kind: 'unavailable', isOwnWant: true })
  isFull = false
  expect(await ask(full)).toMatchObject(enforcing)
})

test('a max_age of 0 does not mean a fetch per mail', async () => {
  world.host.answer = policyAnswer(policyText('enforce', ['mx.example.com'], 0))
  for (let i = 0; i < 5; i += 1) expect(await ask()).toMatchObject(enforcing)
  expect(fetches()).toBe(1)
})

test('while PostgreSQL cannot be asked, nothing is taken for granted', async () => {
  await ask()
  world.kept.trouble = new Error('terminating connection')
  expect(await ask()).toMatchObject(enforcing)
  expect(await ask(worker())).toMatchObject({
    kind: 'unavailable',
    detail: expect.stringContaining('terminating connection'),
  })
})
