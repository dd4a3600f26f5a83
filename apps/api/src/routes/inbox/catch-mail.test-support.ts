/** Mails for tests of the inbox, put there as the capture receiver does. */
import { formatId } from '@valija/core'
import { insertInboxMail } from '@valija/store'
import type { TestApi, TestTenant } from '../../open-api.test-support.ts'

/** A mail with an alternative, an inline picture and an attachment whose name attacks. */
export const richMail = [
  'From: =?utf-8?q?B=C3=BCcher_=3Cscript=3E?= <hello@acme.test>',
  'To: ann@example.test',
  'Subject: =?utf-8?b?PGltZyBzcmM9eCBvbmVycm9yPWFsZXJ0KDEpPiDDvA==?=',
  'Message-ID: <1@acme.test>',
  'X-Long: one',
  ' two',
  'X-Twice: first',
  'X-Twice: second',
  'MIME-Version: 1.0',
  'Content-Type: multipart/mixed; boundary=m',
  '',
  '--m',
  'Content-Type: multipart/related; boundary=r',
  '',
  '--r',
  'Content-Type: multipart/alternative; boundary=a',
  '',
  '--a',
  'Content-Type: text/plain; charset=utf-8',
  '',
  'Hello',
  '--a',
  'Content-Type: text/html; charset=utf-8',
  '',
  '<p>Hello <img src="cid:logo@acme.test"></p>',
  '--a--',
  '--r',
  'Content-Type: image/png',
  'Content-ID: <logo@acme.test>',
  'Content-Disposition: inline; filename=logo.png',
  'Content-Transfer-Encoding: base64',
  '',
  'iVBORw0KGgo=',
  '--r--',
  '--m',
  'Content-Type: text/html; name="x.html"',
  `Content-Disposition: attachment; filename*=utf-8''%22%3E%3Cscript%3E%0D%0AX-Evil%3A%20%C3%BC.html`,
  'Content-Transfer-Encoding: base64',
  '',
  'PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==',
  '--m--',
  '',
].join('\r\n')

export interface Catch {
  raw?: string
  mailFrom?: string
  rcptTo?: string[]
  tenant?: TestTenant
}

/** @returns the mail's id in the inbox */
export async function catchMail({ foundation, tenant: usual }: TestApi, caught: Catch = {}): Promise<string> {
  const {
    raw = richMail,
    mailFrom = 'bounce@acme.test',
    rcptTo = ['ann@example.test'],
    tenant = usual,
  } = caught
  const { database, nextId, clock, wake } = foundation
  const id = nextId()
  await insertInboxMail(database.engine, {
    id,
    tenantId: tenant.id,
    messageId: nextId(),
    receivedAt: new Date(clock.nowMs()),
    mailFrom,
    rcptTo,
    raw: Buffer.from(raw),
  })
  wake.send('inbox', tenant.id)
  return formatId('inbox', id)
}
