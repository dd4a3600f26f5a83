/** What follows from a report that came back, whichever way it came, and what does not. */
import {
  createBounceJudge,
  createIdSource,
  createMailLog,
  createSealer,
  loadBounceRules,
  type Uuid,
} from '@valija/core'
import { messageToken, returnPath } from '@valija/mail'
import { type Database, forgetOldReports, openDatabase, openWake, type Wake } from '@valija/store'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { createDatabase, type TestDatabase } from '../../../tests/support/database.ts'
import { bounceOf, complaintOf } from '../../../tests/support/report-mail.ts'
import { createReportAddresses } from './report-address.ts'
import { type ReportDesk, type ReportWay, takeReport } from './take-report.ts'

const nextId = createIdSource(() => Date.now())
const [tenantId, otherTenant] = [nextId(), nextId()]
const sealer = createSealer(['the secret of this test'])
const secret = sealer.signingKeys('return path')[0]!
const clock = { nowMs: () => Date.now() }
const day = Math.floor(Date.now() / 86_400_000)
let target: TestDatabase
let database: Database
let wake: Wake
let lines: Record<string, unknown>[]
let desk: ReportDesk

beforeAll(async () => {
  target = await createDatabase()
  database = openDatabase({ url: target.url, onError: () => {} })
  wake = await openWake(target.url, () => {})
  await database.engine.query(
    `INSERT INTO valija.tenants (id, name) SELECT id, id::text FROM unnest($1::uuid[]) AS id`,
    [[tenantId, otherTenant]],
  )
})
beforeEach(() => {
  lines = []
  desk = {
    ...{ database, clock, nextId, wake },
    addresses: createReportAddresses({ sealer, clock }),
    judgeBounce: createBounceJudge(loadBounceRules()),
    mailLog: createMailLog((fields) => void lines.push(fields)),
  }
})
afterAll(async () => {
  await wake.close()
  await database.close()
  await target.drop()
})

interface Made {
  messageId: Uuid
  recipients: { id: Uuid; email: string }[]
}

/** A message whose recipients are in this state. */
async function make(emails: string[], status = 'delivered'): Promise<Made> {
  const messageId = nextId()
  await database.engine.query(
    `INSERT INTO valija.messages (id, tenant_id, created_at, stream, delivery, from_header, from_email, from_domain, subject, tags,
       metadata, expires_at, rfc_message_id, is_simulated, recipient_count)
     VALUES ($1, $2, now(), 'bulk', 'mx', '', 'hi@acme.test', 'acme.test', '', '{a}', '{}', now(), $3, false, 1)`,
    [messageId, tenantId, `<${messageId}@acme.test>`],
  )
  const recipients = emails.map((email) => ({ id: nextId(), email }))
  for (const [ordinal, { id, email }] of recipients.entries()) {
    await database.engine.query(
      `INSERT INTO valija.recipients (id, message_id, tenant_id, ordinal, email, email_key, domain, type, status, seq, delivered_at, size_bytes)
       VALUES ($1, $2, $3, $4, $5, $5, split_part($5, '@', 2), 'to', $6, 3, now(), 9)`,
      [id, messageId, tenantId, ordinal, email, status],
    )
    if (status === 'delivered') continue
    await database.engine.query(
      `INSERT INTO valija.deliveries (recipient_id, message_id, tenant_id, stream, route, domain, state, due_at, expires_at)
       VALUES ($1, $2, $3, 'bulk', 'mx', 'example.org', 'waiting', now(), now())`,
      [id, messageId, tenantId],
    )
  }
  return { messageId, recipients }
}

/** The mail as its receiver has it. */
function mailOf({ messageId, recipients }: Made, ordinal = 0) {
  const from = returnPath({ messageId, ordinal, day }, secret, 'bounce.test')
  const token = messageToken({ messageId, day }, secret)
  const text = `Message-ID: <${messageId}@acme.test>\r\nX-Valija-Recipient: ${token}\r\nTo: ${recipients[ordinal]!.email}\r\n\r\nHello\r\n`
  const rest = { session: 1, helo: '', fromParameters: '', toParameters: [], isEncrypted: false, user: null }
  return { ...rest, from, to: [recipients[ordinal]!.email], text, raw: Buffer.from(text) }
}

const smtp: ReportWay = { kind: 'smtp' }
const mailbox = (owner: Uuid | null): ReportWay => ({
  ...{ kind: 'mailbox', mailboxId: nextId(), uid: '1', tenantId: owner },
})

const take = (raw: string, recipients: string[], via: ReportWay = smtp) =>
  takeReport(desk, { raw: Buffer.from(raw), recipients, via })

async function lifeOf({ messageId }: Made): Promise<{ states: string[]; events: string[] }> {
  const states = await database.engine.query<{ status: string }>(
    'SELECT status FROM valija.recipients WHERE message_id = $1 ORDER BY ordinal',
    [messageId],
  )
  const events = await database.engine.query<{ type: string }>(
    'SELECT type FROM valija.events WHERE message_id = $1 ORDER BY id',
    [messageId],
  )
  return { states: states.rows.map((row) => row.status), events: events.rows.map((row) => row.type) }
}

test('one report that comes over SMTP and out of a mailbox, with other header fields and line ends, is applied once', async () => {
  const made = await make(['a1@example.org'])
  const mail = mailOf(made)
  const bounce = bounceOf(mail)
  expect(await take(bounce, [mail.from])).toEqual({ outcome: 'applied' })
  const fetched = `Delivered-To: bounces@acme.test\n${bounce.replaceAll('\r\n', '\n')}\n\n`
  const again = await take(fetched, ['bounces@acme.test'], mailbox(tenantId))
  expect(again).toEqual({ outcome: 'ignored', reason: 'repeated' })
  expect(await lifeOf(made)).toEqual({ states: ['bounced'], events: ['message.bounced'] })
  expect(lines).toMatchObject([
    { to: 'a1@example.org', report: 'bounce', outcome: 'bounced', reason: 'mailbox_unknown', via: 'smtp' },
    { report: 'bounce', reason: 'repeated', via: 'mailbox' },
  ])
})

test('what comes of a mail whose recipient was erased brings nothing of the address back', async () => {
  const made = await make(['erased@example.org'])
  const mail = mailOf(made)
  await database.engine.query(
    `UPDATE valija.recipients SET email = $2, email_key = $2, domain = 'erased.invalid' WHERE message_id = $1`,
    [made.messageId, 'erased-0@erased.invalid'],
  )
  expect(await take(bounceOf(mail), [mail.from])).toEqual({ outcome: 'ignored', reason: 'other_recipient' })
  expect(await take(complaintOf(mail), [mail.from])).toEqual({ outcome: 'applied' })
  expect(await lifeOf(made)).toEqual({ states: ['delivered'], events: ['message.complained'] })
  const { rows } = await database.engine.query(
    `SELECT data::text AS text FROM valija.events WHERE message_id = $1 UNION ALL
     SELECT email FROM valija.suppressions WHERE message_id = $1`,
    [made.messageId],
  )
  expect(rows).toHaveLength(1)
  expect(JSON.stringify(rows)).not.toContain('erased@example.org')
})

test('a mailbox of a tenant says nothing of another tenant’s mail; the operator’s says something of all', async () => {
  const made = await make(['a2@example.org'])
  const mail = mailOf(made)
  const bounce = bounceOf(mail)
  const foreign = await take(bounce, [mail.from], mailbox(otherTenant))
  expect(foreign).toEqual({ outcome: 'unknown', reason: 'other_tenant' })
  expect(await lifeOf(made)).toEqual({ states: ['delivered'], events: [] })
  expect(await take(bounce, [], mailbox(null))).toEqual({ outcome: 'applied' })
})

const withoutPath = (text: string) => text.replace(/b-[a-z2-7]{58}@bounce\.test/g, 'hi@acme.test')

test('where the return path is lost, the token in the quoted header finds the only recipient', async () => {
  const made = await make(['a3@example.org'])
  const lost = withoutPath(bounceOf(mailOf(made)))
  expect(await take(lost, ['hi@acme.test'], mailbox(tenantId))).toEqual({ outcome: 'applied' })
  expect((await lifeOf(made)).states).toEqual(['bounced'])
  const unsigned = withoutPath(bounceOf(mailOf(made))).replace(/^X-Valija-Recipient.*\r\n/m, '')
  expect(await take(unsigned, ['hi@acme.test'], mailbox(tenantId))).toEqual({
    outcome: 'unknown',
    reason: 'foreign',
  })
})

describe('with what all recipients of a message have', () => {
  const tokenOf = (mail: { text: string }) =>
    `${/^X-Valija-Recipient: (\S+)/m.exec(mail.text)![1]}@bounce.test`
  const suppressed = async (email: string) =>
    (await database.engine.query('SELECT FROM valija.suppressions WHERE email_key = $1', [email])).rowCount

  test('none of them makes anything follow for another: neither a bounce nor a complaint, at its address or out of a mailbox', async () => {
    const made = await make(['evil@example.org', 'b9@example.org'])
    const [own, other] = [mailOf(made, 0), mailOf(made, 1)]
    const nothing = { outcome: 'ignored', reason: 'other_recipient' }
    const forged = () => bounceOf(own, { recipient: 'b9@example.org' })
    for (const complaint of [complaintOf(other), complaintOf(other, 'abuse', 'b9@example.org')]) {
      expect(await take(complaint, [tokenOf(own)])).toEqual(nothing)
      expect(await take(complaint, ['hi@acme.test'], mailbox(tenantId))).toEqual(nothing)
    }
    expect(await take(withoutPath(forged()), [tokenOf(own)])).toEqual(nothing)
    expect(await take(withoutPath(forged()), ['hi@acme.test'], mailbox(tenantId))).toEqual(nothing)
    // With its own return path besides, at either address.
    expect(await take(forged(), [tokenOf(own)])).toEqual(nothing)
    expect(await take(forged(), [own.from])).toEqual(nothing)
    expect(await lifeOf(made)).toEqual({ states: ['delivered', 'delivered'], events: [] })
    expect(await suppressed('b9@example.org')).toBe(0)
  })

  test('who quotes a return path is that recipient', async () => {
    const made = await make(['a10@example.org', 'b10@example.org'])
    const other = mailOf(made, 1)
    expect(await take(bounceOf(other), [tokenOf(other)])).toEqual({ outcome: 'applied' })
    const complaint = complaintOf(other).replace(
      '\r\nMessage-ID',
      `\r\nReturn-Path: <${other.from}>\r\nMessage-ID`,
    )
    expect(await take(complaint, [tokenOf(other)])).toEqual({ outcome: 'applied' })
    const events = ['message.bounced', 'message.complained']
    expect(await lifeOf(made)).toEqual({ states: ['delivered', 'bounced'], events })
    expect(await suppressed('b10@example.org')).toBe(2)
  })

  test('a complaint with every address blacked out is the only recipient’s, who is suppressed', async () => {
    const made = await make(['a11@example.org'])
    const mail = mailOf(made)
    expect(await take(complaintOf(mail), [tokenOf(mail)])).toEqual({ outcome: 'applied' })
    expect(await suppressed('a11@example.org')).toBe(1)
  })
})

test('a bounce of a mail that waits for another try ends it, and it is not tried again', async () => {
  const made = await make(['a4@example.org'], 'deferred')
  const mail = mailOf(made)
  expect(await take(bounceOf(mail), [mail.from])).toEqual({ outcome: 'applied' })
  expect(await lifeOf(made)).toEqual({ states: ['bounced'], events: ['message.bounced'] })
  const rows = await database.engine.query('SELECT FROM valija.deliveries WHERE message_id = $1', [
    made.messageId,
  ])
  expect(rows.rowCount).toBe(0)
})

test('a complaint that comes before our own result has to come again', async () => {
  const made = await make(['a5@example.org'], 'queued')
  const mail = mailOf(made)
  expect(await take(complaintOf(mail), [mail.from])).toEqual({ outcome: 'later' })
  expect(await lifeOf(made)).toEqual({ states: ['queued'], events: [] })
})

test('a recipient that has failed, or is gone, stays as it is', async () => {
  const made = await make(['a6@example.org'], 'failed')
  const mail = mailOf(made)
  expect(await take(bounceOf(mail), [mail.from])).toEqual({ outcome: 'ignored', reason: 'ended' })
  const gone = mailOf({ messageId: nextId(), recipients: made.recipients })
  expect(await take(bounceOf(gone), [gone.from])).toEqual({ outcome: 'unknown', reason: 'gone' })
})

test('a mailbox that took mail lately is quarantined; a refusal for what we are suppresses nobody', async () => {
  const [first, second] = [await make(['a7@example.org']), await make(['a7@example.org'])]
  await take(bounceOf(mailOf(first)), [mailOf(first).from])
  const blocked = { status: '5.7.1', diagnostic: '550 5.7.1 listed at zen.spamhaus.org' }
  await take(bounceOf(mailOf(second), blocked), [mailOf(second).from])
  const found = await database.engine.query(
    `SELECT recipient_id, reason, quarantined_at IS NOT NULL AS held FROM valija.suppressions WHERE email_key = 'a7@example.org'`,
  )
  expect(found.rows).toEqual([
    { recipient_id: first.recipients[0]!.id, reason: 'mailbox_unknown', held: true },
  ])
  const events = await database.engine.query(
    `SELECT data ->> 'bounce_type' AS type, data ->> 'reason' AS reason FROM valija.events WHERE message_id = $1`,
    [second.messageId],
  )
  expect(events.rows).toEqual([{ type: 'block', reason: 'reputation' }])
})

test('a complaint counts for the warm-up of the source that the mail left from, with its provider', async () => {
  const made = await make(['a8@warm.test'])
  const sourceId = nextId()
  await database.engine.query(
    `INSERT INTO valija.source_ips (id, address, bind, ehlo_name, warm_up) VALUES ($1, '192.0.2.1', '10.0.0.1', 'a.test', '{}')`,
    [sourceId],
  )
  await database.engine.query(
    `INSERT INTO valija.warm_ups (source_id, provider) VALUES ($1, 'google'), ($1, 'other')`,
    [sourceId],
  )
  await database.engine.query(
    `INSERT INTO valija.destinations (domain, scope_key, provider, exchangers) VALUES ('warm.test', 'x', 'google', '{}')`,
  )
  await database.engine.query(
    `INSERT INTO valija.attempts (id, message_id, recipient_id, tenant_id, number, outcome, started_at, report)
     VALUES ($1, $2, $3, $4, 1, 'delivered', now(), '{"source_ip": "10.0.0.1"}')`,
    [nextId(), made.messageId, made.recipients[0]!.id, tenantId],
  )
  const mail = mailOf(made)
  for (let n = 0; n < 2; n += 1) await take(complaintOf(mail), [mail.from])
  const counts = await database.engine.query(
    `SELECT provider, complained FROM valija.warm_ups WHERE source_id = $1 ORDER BY provider`,
    [sourceId],
  )
  expect(counts.rows).toEqual([
    { provider: 'google', complained: 1 },
    { provider: 'other', complained: 0 },
  ])
})

test('reports are remembered for as long as the recipients that they are about', async () => {
  const count = async () =>
    (await database.engine.query('SELECT count(*)::int AS count FROM valija.taken_reports')).rows[0].count
  await database.engine.query(
    `UPDATE valija.taken_reports SET at = now() - interval '10 d' WHERE kind = 'complaint'`,
  )
  const before = await count()
  expect(await forgetOldReports(database.engine, 9 * 86_400_000)).toBeGreaterThan(0)
  expect(await count()).toBeLessThan(before)
  expect(await forgetOldReports(database.engine, 11 * 86_400_000)).toBe(0)
})
