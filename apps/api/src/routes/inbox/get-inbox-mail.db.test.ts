/** GET /inbox/:id. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openTestApi, type TestApi } from '../../open-api.test-support.ts'
import { expectHidden, expectScope } from '../keys/refusals.test-support.ts'
import { catchMail } from './catch-mail.test-support.ts'

let api: TestApi
beforeAll(async () => {
  api = await openTestApi()
})
afterAll(() => api.close())

const show = async (id: string) => (await api.ask('GET', `/inbox/${id}`)).json()

describe('200', () => {
  test('takes the mail apart: header fields in order and decoded, text, html, attachments', async () => {
    const id = await catchMail(api)
    const mail = await show(id)
    const [entry] = (await api.ask('GET', '/inbox')).json().data
    expect(mail).toMatchObject(entry)
    expect(mail.headers.slice(0, 8)).toEqual([
      { name: 'From', value: 'Bücher <script> <hello@acme.test>' },
      { name: 'To', value: 'ann@example.test' },
      { name: 'Subject', value: '<img src=x onerror=alert(1)> ü' },
      { name: 'Message-ID', value: '<1@acme.test>' },
      { name: 'X-Long', value: 'one two' },
      { name: 'X-Twice', value: 'first' },
      { name: 'X-Twice', value: 'second' },
      { name: 'MIME-Version', value: '1.0' },
    ])
    expect(mail.text.trim()).toBe('Hello')
    expect(mail.html).toContain('cid:logo@acme.test')
    expect(mail.attachments).toEqual([
      { filename: 'logo.png', content_type: 'image/png', content_id: 'logo@acme.test', size_bytes: 8 },
      {
        filename: expect.stringContaining('<script>'),
        content_type: 'text/html',
        content_id: null,
        size_bytes: 25,
      },
    ])
  })

  test('a text mail has no html, and one of html has no text', async () => {
    const text = await catchMail(api, { raw: 'Subject: t\r\n\r\nonly text' })
    expect(await show(text)).toMatchObject({
      text: expect.stringContaining('only text'),
      html: null,
      attachments: [],
    })
    const html = await catchMail(api, { raw: 'Content-Type: text/html\r\n\r\n<b>x</b>' })
    expect(await show(html)).toMatchObject({ text: null, html: expect.stringContaining('<b>x</b>') })
  })

  test('a forwarded mail is an attachment, and none of it is the text of the mail', async () => {
    const inner = 'From: bob@example.net\r\nSubject: within\r\n\r\nof Bob\r\n'
    const part = (head: string, body: string) => `--f\r\n${head}\r\n\r\n${body}\r\n`
    const parts = part('Content-Type: text/plain', 'see below') + part('Content-Type: message/rfc822', inner)
    const id = await catchMail(api, {
      raw: `Subject: Fwd\r\nContent-Type: multipart/mixed; boundary=f\r\n\r\n${parts}--f--\r\n`,
    })
    const { text, attachments } = await show(id)
    expect(text.trim()).toBe('see below')
    expect(attachments).toEqual([
      { filename: null, content_type: 'message/rfc822', content_id: null, size_bytes: expect.any(Number) },
    ])
    const content = await api.ask('GET', `/inbox/${id}/attachments/0`)
    expect(content.body.trim()).toBe(inner.trim().replaceAll('\r\n', '\n'))
  })

  test('a mail that cannot be taken apart is there all the same', async () => {
    const bombs = Array.from(
      { length: 400 },
      (_, i) => `--${i}\r\nContent-Type: multipart/mixed; boundary=${i + 1}\r\n`,
    )
    const id = await catchMail(api, {
      raw: `Subject: bomb\r\nContent-Type: multipart/mixed; boundary=0\r\n\r\n${bombs.join('\r\n')}`,
    })
    expect(await show(id)).toMatchObject({ id, subject: 'bomb', html: null, attachments: [] })
  })
})

test('401 and 403 without a key that has the scope read:content', () =>
  expectScope(api, 'GET', '/inbox/inb_x', 'read:content'))

test('404 hides other tenants’ mails', async () =>
  expectHidden(api, 'GET', (id) => `/inbox/${id}`, await catchMail(api, { tenant: api.stranger })))
