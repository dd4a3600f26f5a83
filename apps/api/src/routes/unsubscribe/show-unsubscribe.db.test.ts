/** GET /unsubscribe/<token>. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openTestApi, type TestApi } from '../../open-api.test-support.ts'
import { follow, linksTo, look, traces } from './unsubscribe.test-support.ts'

let api: TestApi
beforeAll(async () => {
  api = await openTestApi()
})
afterAll(() => api.close())

describe('200', () => {
  test('a page that asks, with a form that posts to where it is, and nothing that runs or is loaded', async () => {
    const { links } = await linksTo(api, ['ann@example.test'])
    const answer = await look(api, links[0]!)
    expect(answer.statusCode).toBe(200)
    expect(answer.headers).toMatchObject({
      'content-type': 'text/html; charset=utf-8',
      'cache-control': 'no-store',
      'referrer-policy': 'no-referrer',
      'x-robots-tag': 'noindex, nofollow',
    })
    expect(answer.headers).not.toHaveProperty('set-cookie')
    const policy = String(answer.headers['content-security-policy'])
    expect(policy).toMatch(/^default-src 'none'; style-src 'sha256-[^']+'; form-action 'self'; /)
    expect(policy).not.toContain('script')
    expect(answer.body).toContain(
      '<form method="post"><input type="hidden" name="List-Unsubscribe" value="One-Click">',
    )
    expect(answer.body).toContain('<html lang="en">')
    expect(answer.body).toContain('acme.test')
    expect(answer.body).not.toMatch(/<script|<img|<link|javascript:|https?:/i)
  })

  test('a mail that was passed on does not tell everybody the whole address', async () => {
    const { links } = await linksTo(api, ['carla.long@example.test'])
    const { body } = await look(api, links[0]!)
    expect(body).toContain('c…@example.test')
    expect(body).not.toContain('carla')
  })

  test('what stands in an address is text', async () => {
    const { links } = await linksTo(api, ['&x@example.test'])
    expect((await look(api, links[0]!)).body).toContain('<strong>&#38;…@example.test</strong>')
  })

  test('looking changes nothing, however often, and by HEAD too', async () => {
    const { links } = await linksTo(api, ['dora@example.test'])
    const before = await traces(api)
    for (let i = 0; i < 5; i++) await look(api, links[0]!)
    expect((await api.app.inject({ method: 'HEAD', url: links[0]! })).statusCode).toBe(200)
    expect(await traces(api)).toEqual(before)
  })

  test('once it is done the page says so, and asks no more', async () => {
    const { links } = await linksTo(api, ['eve@example.test'])
    await follow(api, links[0]!)
    const { body } = await look(api, links[0]!)
    expect(body).toContain('You are unsubscribed')
    expect(body).not.toContain('One-Click')
  })

  test('a mail that is forgotten has a page all the same', async () => {
    const forgotten = '0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b'
    const { links } = await linksTo(api, ['fay@example.test'], {
      messageId: forgotten,
      recipientId: forgotten,
    })
    const answer = await look(api, links[0]!)
    expect(answer.statusCode).toBe(200)
    expect(answer.body).not.toContain('acme.test')
  })
})

test('404, with the same page, for what is no link of ours, and for a tenant that is gone', async () => {
  const { links } = await linksTo(api, ['ann@example.test'])
  const gone = await linksTo(api, ['ann@example.test'], { tenantId: '0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b' })
  const wrong = [
    `${links[0]!.slice(0, -1)}_`,
    links[0]!.slice(0, -4),
    `${links[0]!}/x`,
    `${links[0]!}%00`,
    '/unsubscribe/',
    `/unsubscribe/${'x'.repeat(9_000)}`,
    gone.links[0]!,
  ]
  const answers = await Promise.all(wrong.map((url) => look(api, url)))
  for (const answer of answers) {
    expect(answer.statusCode).toBe(404)
    expect(answer.body).toBe(answers[0]!.body)
    expect(answer.headers['content-security-policy']).toContain("default-src 'none'")
  }
})

test('429 for an address that asks for one wrong link after the other; right ones are still answered', async () => {
  const { links } = await linksTo(api, ['gus@example.test'])
  const askFrom = (url: string) => api.app.inject({ method: 'GET', url, remoteAddress: '192.0.2.9' })
  const statuses = []
  for (let i = 0; i < 105; i++) statuses.push((await askFrom(`/unsubscribe/wrong${i}`)).statusCode)
  expect(statuses.indexOf(429)).toBe(100)
  const refused = await askFrom('/unsubscribe/wrong')
  expect(Number(refused.headers['retry-after'])).toBeGreaterThan(0)
  expect((await askFrom(links[0]!)).statusCode).toBe(200)
})
