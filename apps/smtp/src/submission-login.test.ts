import { type Caller, createApiKey, noLimits, ProductError, type Scope } from '@valija/core'
import { expect, test } from 'vitest'
import { createLogins } from './submission-login.ts'

const caller = (scopes: Scope[] = ['send'], isOperator = false): Caller => ({
  tenantId: '0192f0c1-a2b3-7c4d-8e5f-60718293a4b5',
  keyId: null,
  scopes: new Set(scopes),
  domains: [],
  recipients: [],
  route: null,
  isOperator,
  isDefaultTenant: false,
  queuedLimit: null,
  limits: noLimits(),
})

/** Keys that are known, by what they are; all others are none. */
function open(known: Record<string, Caller | ProductError>) {
  const [asked, said, slowed]: [string[], string[], string[]] = [[], [], []]
  const logins = createLogins({
    authenticate: async ({ authorization }) => {
      const key = authorization?.replace('Bearer ', '') ?? ''
      asked.push(key)
      const found = known[key] ?? new ProductError('invalid_key')
      if (found instanceof Error) throw found
      return found
    },
    onLogin: (outcome) => void said.push(outcome),
    onSlowed: (peer) => void slowed.push(peer),
  })
  const many = (passwords: string[], ip = '192.0.2.1') =>
    Promise.all(passwords.map(async (password) => (await logins.logIn(password, ip)).kind))
  return { ...logins, many, asked, said, slowed }
}

const newKeys = (count: number) => Array.from({ length: count }, () => createApiKey().key)

test('what cannot be a key is refused without anybody being asked', async () => {
  const { key } = createApiKey()
  const { many, asked, said } = open({ [key]: caller() })
  const wrong = [
    '',
    'letmein',
    `${key}x`,
    key.slice(0, -1),
    `${key.slice(0, -1)}${key.endsWith('a') ? 'b' : 'a'}`,
  ]
  expect(await many(wrong.slice(0, 3))).toEqual(['refused', 'refused', 'refused'])
  expect(await many(wrong.slice(3), '192.0.2.2')).toEqual(['refused', 'refused'])
  expect(asked).toEqual([])
  expect(said).toEqual(Array(5).fill('wrong'))
})

test('a peer that guesses is turned away, and told of once; another one is not', async () => {
  const [right] = newKeys(1) as [string]
  const { many, asked, said, slowed } = open({ [right]: caller() })
  const guesses = Array.from({ length: 20 }, () => 'letmein')
  // Those that wait are not waited for.
  void many(guesses)
  await expect.poll(() => said.filter((outcome) => outcome === 'slowed').length).toBe(13)
  expect(slowed).toEqual(['192.0.2.1'])
  expect(await many([right], '192.0.2.1')).toEqual(['in'])
  expect(await many([right], '192.0.2.2')).toEqual(['in'])
  expect(asked).toEqual([right, right])
})

test('keys that do not exist slow their peer down, but not a key that was right from there before', async () => {
  const [right, other, ...wrong] = newKeys(30) as [string, string, ...string[]]
  const { many, said, slowed } = open({ [right]: caller(), [other]: caller() })
  expect(await many([right])).toEqual(['in'])
  void many(wrong)
  await expect.poll(() => said.filter((outcome) => outcome === 'slowed').length).toBe(21)
  expect(slowed).toEqual(['192.0.2.1'])
  expect(await many([right])).toEqual(['in'])
  expect(await many([other])).toEqual(['slowed'])
  expect(await many([other], '192.0.2.2')).toEqual(['in'])
})

test('one key that is refused again and again is slowed, and no other key from there', async () => {
  const [revoked, reader, right] = newKeys(3) as [string, string, string]
  const { many, logIn, said } = open({ [reader]: caller(['read']), [right]: caller() })
  expect(await many([revoked, reader])).toEqual(['refused', 'refused'])
  for (let i = 0; i < 20; i++) for (const key of [revoked, reader]) void logIn(key, '192.0.2.1')
  await expect.poll(() => said.filter((outcome) => outcome === 'slowed').length).toBeGreaterThan(20)
  expect(await many([right])).toEqual(['in'])
})

test('one key is guessed at no faster from many addresses', async () => {
  const [{ key }] = [createApiKey()]
  const { logIn, said } = open({})
  for (let i = 0; i < 20; i++) void logIn(key, `192.0.2.${i}`)
  await expect.poll(() => said.filter((outcome) => outcome === 'slowed').length).toBe(13)
})

test('a key that may not send, and the operator’s, log nobody in', async () => {
  const [reader, operator] = newKeys(2) as [string, string]
  const { logIn, said } = open({ [reader]: caller(['read']), [operator]: caller([], true) })
  expect(await logIn(reader, '192.0.2.1')).toMatchObject({ error: { code: 'insufficient_scope' } })
  expect(await logIn(operator, '192.0.2.1')).toMatchObject({ error: { code: 'invalid_key' } })
  expect(said).toEqual(['restricted', 'wrong'])
})

test('trouble of ours is nobody’s failure', async () => {
  const [{ key }] = [createApiKey()]
  const { many, said } = open({ [key]: new ProductError('database_unavailable') })
  for (let i = 0; i < 10; i++) expect(await many([key])).toEqual(['refused'])
  expect(said).toEqual(Array(10).fill('trouble'))
})
