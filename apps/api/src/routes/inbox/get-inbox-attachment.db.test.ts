/** GET /inbox/:id/attachments/:index. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openTestApi, type TestApi } from '../../open-api.test-support.ts'
import { expectHidden, expectScope } from '../keys/refusals.test-support.ts'
import { catchMail } from './catch-mail.test-support.ts'

let api: TestApi
let id: string
beforeAll(async () => {
  api = await openTestApi()
  id = await catchMail(api)
})
afterAll(() => api.close())

const get = (index: string, of = id) => api.ask('GET', `/inbox/${of}/attachments/${index}`)

describe('200', () => {
  test('gives the decoded content for download', async () => {
    const answer = await get('0')
    expect(answer.statusCode).toBe(200)
    expect(answer.rawPayload).toEqual(Buffer.from('iVBORw0KGgo=', 'base64'))
    expect(answer.headers).toMatchObject({
      'content-type': 'application/octet-stream',
      'content-disposition': `attachment; filename="logo.png"; filename*=UTF-8''logo.png`,
      'x-content-type-options': 'nosniff',
    })
  })

  test('a name that attacks stays within its quotes, and a page is never shown', async () => {
    const { headers } = await get('1')
    expect(headers['content-type']).toBe('application/octet-stream')
    expect(headers['content-disposition']).toMatch(
      /^attachment; filename="[A-Za-z0-9 ._-]+"; filename\*=UTF-8''[A-Za-z0-9%._~!-]+$/,
    )
    expect(headers['x-evil']).toBeUndefined()
    expect(headers['x-content-type-options']).toBe('nosniff')
    expect(headers['content-security-policy']).toContain("default-src 'none'")
  })
})

test('401 and 403 without a key that has the scope read:content', () =>
  expectScope(api, 'GET', '/inbox/inb_x/attachments/0', 'read:content'))

describe('404', () => {
  test.each([['2'], ['-1'], ['x'], ['0x1'], ['99999999999999999999'], ['__proto__'], ['length']])(
    'for index %s',
    async (index) => {
      expect((await get(index)).statusCode).toBe(404)
    },
  )

  test('hides other tenants’ mails', async () =>
    expectHidden(
      api,
      'GET',
      (of) => `/inbox/${of}/attachments/0`,
      await catchMail(api, { tenant: api.stranger }),
    ))
})
