/** GET /ui and GET /ui/inbox. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openTestApi, type TestApi } from '../open-api.test-support.ts'
import { assemblePage } from './inbox.ts'

let api: TestApi
beforeAll(async () => {
  api = await openTestApi()
})
afterAll(() => api.close())

test('200: the page with its policy, and no key needed', async () => {
  const answer = await api.ask('GET', '/ui/inbox', { key: null })
  expect(answer.statusCode).toBe(200)
  expect(answer.body).toBe(assemblePage().html)
  expect(answer.headers).toMatchObject({
    'content-type': 'text/html; charset=utf-8',
    'content-security-policy': assemblePage().policy,
    'x-content-type-options': 'nosniff',
    'referrer-policy': 'no-referrer',
  })
})

test('302: /ui leads to it', async () => {
  const answer = await api.ask('GET', '/ui', { key: null })
  expect(answer.statusCode).toBe(302)
  expect(answer.headers.location).toBe('/ui/inbox')
})
