/** Which messages that arrive together share a commit (flows/send-message.ts): what one transaction writes has its number in `xmin`. */
import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openTestApi, type TestApi } from '../../open-api.test-support.ts'

let api: TestApi

beforeAll(async () => {
  api = await openTestApi()
})
afterAll(() => api?.close())

/** Accepts one with an attachment of so many octets that do not compress. */
const send = (octets: number) =>
  api.send({
    subject: `${octets} octets`,
    attachments: [{ filename: 'one.pdf', content: randomBytes(octets).toString('base64') }],
  })

/** Accepts so many at the same time. @returns how many commits that were */
async function commitsOf(count: number, octets: number): Promise<number> {
  const accepted = await Promise.all(Array.from({ length: count }, () => send(octets)))
  expect(new Set(accepted.map(({ id }) => id)).size).toBe(count)
  const { rows } = await api.foundation.database.engine.query<{ commits: number }>(
    'SELECT count(DISTINCT xmin::text)::int AS commits FROM valija.messages WHERE subject = $1',
    [`${octets} octets`],
  )
  return rows[0]!.commits
}

test('small ones share a commit', async () => {
  expect(await commitsOf(20, 1_000)).toBeLessThan(20)
})

test('large ones share a commit, up to two megabytes', async () => {
  expect(await commitsOf(20, 200_000)).toBeLessThan(20)
  expect(await commitsOf(4, 1_500_000)).toBe(4)
})

test('what is larger than that has one of its own', async () => {
  expect(await commitsOf(3, 2_200_000)).toBe(3)
})

test('none of these keeps a smaller one waiting for its turn', async () => {
  const answered: number[] = []
  const octets = [2_200_000, 2_200_000, 2_200_000, 100_000, 1_000]
  await Promise.all(octets.map(async (some) => void answered.push((await send(some)) && some)))
  expect(answered.slice(-2)).toEqual([2_200_000, 2_200_000])
})
