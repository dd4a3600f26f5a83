/** GET /messages/:id/explain, by status. */
import { parseId, steadyPace, type Uuid } from '@valija/core'
import { applyReport, findReportedMails, openLeadership } from '@valija/store'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { adminKey, message, openTestApi, type TestApi } from '../../open-api.test-support.ts'
import { attempt, lease } from '../../settle.test-support.ts'
import { erase, workOff } from '../erasures/erasures.test-support.ts'

interface Explained {
  email: string
  status: string
  summary: string
  because: { kind: string; detail: string }[]
  next_attempt_at: string | null
  remedy: string
}

let api: TestApi

beforeAll(async () => {
  api = await openTestApi({ delivery: 'smarthost', isAllInOne: false })
  await api.ask('POST', '/domains', {
    key: adminKey,
    headers: { 'valija-tenant': `ten_${api.tenant.id.replaceAll('-', '')}` },
    body: { name: 'acme.test', vouched: true },
  })
})
afterAll(() => api?.close())

const explain = async (id: string): Promise<Explained[]> =>
  (await api.ask('GET', `/messages/${id}/explain`)).json().recipients
const kinds = ({ because }: Explained) => because.map(({ kind }) => kind)
const sql = (text: string, values: unknown[] = []) => api.foundation.database.engine.query(text, values)

const uuidOf = (id: string) => parseId('recipient', id)

describe('200', () => {
  test('a mail that nobody works on says that no worker is running, and who can start one', async () => {
    const { id } = await api.send()
    expect(await explain(id)).toEqual([
      {
        email: 'ann@example.test',
        status: 'queued',
        summary: expect.stringMatching(/^Has been due for \d+ s, and waits for its turn\.$/),
        because: [{ kind: 'no_worker', detail: expect.stringContaining('No mail is lost') }],
        next_attempt_at: null,
        remedy: expect.stringContaining('start a worker'),
      },
    ])
  })

  test('each recipient has its own cause, with the reply in its own words', async () => {
    const { id, recipients } = await api.send({
      to: ['full@example.test', 'gone@example.test', 'ok@example.test'],
    })
    await attempt(
      api,
      recipients[0]?.id ?? '',
      452,
      '4.2.2',
      'The email account that you tried to reach is over quota',
    )
    await attempt(api, recipients[1]?.id ?? '', 550, '5.1.1', 'No such user')
    await attempt(api, recipients[2]?.id ?? '', 250, '2.0.0', 'Ok')
    const [full, gone, ok] = await explain(id)
    expect(kinds(full!)[0]).toBe('mailbox_full')
    expect(full).toMatchObject({ status: 'deferred', next_attempt_at: expect.stringMatching(/Z$/) })
    expect(full?.remedy).toContain('make room')
    expect(gone).toMatchObject({ status: 'bounced', next_attempt_at: null })
    expect(gone?.because[0]).toMatchObject({
      kind: 'mailbox_unknown',
      detail: expect.stringContaining('“550 5.1.1 No such user” to the recipient’s address (RCPT TO)'),
    })
    expect(ok?.because[0]).toMatchObject({
      kind: 'delivered',
      detail: expect.stringContaining('250 2.0.0 Ok'),
    })
  })

  test('a complaint and an unsubscribe after the delivery are told; of a bounce, the entry that it made', async () => {
    const { id, recipients } = await api.send({ to: ['a@late.test', 'b@late.test', 'c@late.test'] })
    const [complains, leaves, bounces] = recipients.map((recipient) => recipient.id)
    for (const recipient of [complains, leaves]) await attempt(api, recipient ?? '', 250, '2.0.0', 'Ok')
    await attempt(api, bounces ?? '', 550, '5.1.1', 'No such user')
    const { database, nextId } = api.foundation
    const [mail] = await findReportedMails(database.engine, parseId('message', id) as Uuid, 0)
    await applyReport(database.engine, {
      ...{ mail: mail!, fingerprint: Buffer.alloc(32), kind: 'complaint', change: null, mailboxFault: null },
      ...{ reason: null, reply: null, enhancedStatus: null, eventId: nextId(), createdAtMs: Date.now() },
      eventType: 'message.complained',
      eventData: (seq) => ({ message_id: id, recipient_id: complains, seq }),
    })
    await sql('UPDATE valija.recipients SET unsubscribed_at = now() WHERE id = $1', [uuidOf(leaves ?? '')])
    const [complained, left, bounced] = await explain(id)
    expect(complained).toMatchObject({
      status: 'delivered',
      summary: expect.stringMatching(/^Was delivered .*; its reader complained about it\.$/),
      because: [{ kind: 'complained', detail: expect.stringMatching(/suppressed by sup_\w+ for/) }, {}],
    })
    expect(left?.because[0]?.kind).toBe('unsubscribed')
    expect(bounced?.because.at(-1)).toMatchObject({
      kind: 'suppressed',
      detail: expect.stringContaining('(mailbox_unknown), in force'),
    })
  })

  test('a recipient that was suppressed names the entry, and says when it is gone', async () => {
    const entry = (await api.ask('POST', '/suppressions', { body: { email: 'no@example.test' } })).json()
    const { id } = await api.send({ to: 'no@example.test' })
    const [before] = await explain(id)
    expect(before?.because[0]?.kind).toBe('suppressed')
    expect(before?.remedy).toContain(`DELETE /suppressions/${entry.id}`)
    await api.ask('DELETE', `/suppressions/${entry.id}`)
    expect((await explain(id))[0]?.remedy).toContain('nothing stops it now')
  })

  test('of somebody who was erased it says that, and neither it nor any event leads to the list, which has the address', async () => {
    const email = 'eva@example.test'
    const { id: entry } = (await api.ask('POST', '/suppressions', { body: { email } })).json()
    const { id } = await api.send({ to: [email, 'ann@example.test'] })
    expect((await api.events()).data.filter(({ data }) => data.suppression_id === entry)).toHaveLength(2)
    const { placeholder } = (await erase(api, email)).json()
    await workOff(api)
    const [explained] = await explain(id)
    expect(explained).toMatchObject({ email: placeholder, status: 'suppressed' })
    expect(kinds(explained!)).toEqual(['erased'])
    expect(explained!.remedy).toContain('cannot be sent again')
    expect(JSON.stringify([await explain(id), await api.events()])).not.toContain(entry)
    expect((await api.ask('GET', `/suppressions/${entry}`)).json()).toMatchObject({ email })
    for (const [url, body, path] of [
      ['/recipients/erase', { email: placeholder }, '/email'],
      ['/send', { ...message, to: ['ann@example.test', placeholder] }, '/to/1'],
    ] as const)
      expect((await api.ask('POST', url, { body })).json()).toMatchObject({
        status: 400,
        errors: [{ path, message: expect.stringContaining('nobody has this address') }],
      })
  })

  test('a scheduled mail says when it is sent', async () => {
    const { id } = await api.send({ send_at: new Date(Date.now() + 3_600_000).toISOString() })
    const [scheduled] = await explain(id)
    expect(kinds(scheduled!)).toEqual(['scheduled'])
    expect(scheduled?.summary).toMatch(/^Scheduled for .* UTC \(in (1 h|59 min.*)\)\.$/)
  })

  test('a mail behind others of its stream tells how many', async () => {
    const sent = await Promise.all(Array.from({ length: 3 }, () => api.send({ stream: 'bulk' })))
    const last = sent[2]!
    // As if a worker ran, and the dispatcher had let none of them through yet.
    const worker = openLeadership(api.foundation.database.url, 'dispatch', () => undefined)
    await worker.isHeld()
    await sql(
      `UPDATE valija.deliveries SET state = 'waiting', due_at = now() - interval '1 minute' WHERE stream = 'bulk'`,
    )
    await sql(`UPDATE valija.deliveries SET due_at = now() - interval '1 second' WHERE recipient_id = $1`, [
      uuidOf(last.recipients[0]?.id ?? ''),
    ])
    const [recipient] = await explain(last.id)
    await worker.close()
    expect(recipient?.because[0]).toEqual({
      kind: 'tenant_share',
      detail: expect.stringContaining('2 mails of your bulk stream are due before it'),
    })
  })

  test.each([
    ['site: 192.0.2.1 default', 'site_paused'],
    ['no_route:nowhere', 'no_route'],
    ['warm_up:192.0.2.7', 'warm_up'],
    ['something_new:x', 'next_in_line'],
  ])('what a worker holds back is explained by its mark: %s', async (hold, kind) => {
    const { id, recipients } = await api.send()
    await sql(
      `UPDATE valija.deliveries SET state = 'waiting', hold = $2, due_at = now() + interval '1 minute' WHERE recipient_id = $1`,
      [uuidOf(recipients[0]?.id ?? ''), hold],
    )
    expect(kinds((await explain(id))[0]!)[0]).toBe(kind)
  })

  test('a mail that waits because of what its site answered others quotes that', async () => {
    const pace = {
      ...steadyPace,
      pausedUntilMs: Date.now() + 60_000,
      stepMs: 15_000,
      cause: { reason: 'throttled', reply: '421 4.7.0 slow down', atMs: Date.now() },
      sinceMs: Date.now(),
    }
    await sql(
      `INSERT INTO valija.shaping_sites (key, provider, site, source, kind, limits, pace, condition, paused_until)
       VALUES ('google * default', 'google', 'mx.google.test', 'default', 'mx', '{}', $1, 'suspended', now() + interval '1 minute')`,
      [JSON.stringify(pace)],
    )
    const { id, recipients } = await api.send()
    await sql(
      `UPDATE valija.deliveries SET state = 'waiting', hold = 'site:google * default', due_at = now() + interval '1 minute' WHERE recipient_id = $1`,
      [uuidOf(recipients[0]?.id ?? '')],
    )
    const [recipient] = await explain(id)
    expect(recipient?.because[0]).toEqual({
      kind: 'site_paused',
      detail: expect.stringMatching(
        /All mail to google waits until .* It last answered: “421 4\.7\.0 slow down”/,
      ),
    })
    expect(recipient?.remedy).toMatch(/POST \/queue\/sites\/[0-9a-f]{32}\/resume/)
  })

  test('while a worker has it, that is said', async () => {
    const { id, recipients } = await api.send()
    await lease(api, recipients[0]?.id ?? '')
    const [sending] = await explain(id)
    expect([sending?.status, kinds(sending!)]).toEqual(['sending', ['sending']])
  })

  test('a reply about who sent it leads to what the sender domain lacks', async () => {
    const { id, recipients } = await api.send()
    await attempt(
      api,
      recipients[0]?.id ?? '',
      550,
      '5.7.26',
      'Unauthenticated email is not accepted from this domain',
    )
    const [refused] = await explain(id)
    expect(kinds(refused!).slice(0, 2)).toEqual(['authentication', 'domain_unsigned'])
    expect(refused?.remedy).toMatch(
      /Have the operator set "dkim": true for acme\.test \(PATCH \/domains\/dom_/,
    )
  })

  test('a transcript is no part of it, and a key without read:content may ask', async () => {
    const { id, recipients } = await api.send()
    await attempt(api, recipients[0]?.id ?? '', 550, '5.1.1', 'No such user')
    const answer = await api.ask('GET', `/messages/${id}/explain`, { key: await api.keyWith('read') })
    expect(answer.statusCode).toBe(200)
    expect(answer.body).not.toContain('MAIL FROM:<')
  })
})

describe('400', () => {
  test('unknown query keys are refused', async () => {
    const { id } = await api.send()
    expect((await api.ask('GET', `/messages/${id}/explain?verbose=1`)).statusCode).toBe(400)
  })
})

describe('403', () => {
  test('a key without the scope read is refused', async () => {
    const { id } = await api.send()
    const key = await api.keyWith('send', 'read:content', 'manage')
    expect((await api.ask('GET', `/messages/${id}/explain`, { key })).json()).toMatchObject({
      code: 'insufficient_scope',
    })
  })
})

describe('404', () => {
  test('404 hides other tenants’ messages: their answer is that for an unknown id', async () => {
    const { id } = await api.send()
    const foreign = await api.ask('GET', `/messages/${id}/explain`, { key: api.stranger.key })
    const unknown = await api.ask('GET', '/messages/msg_0192f0c1a2b37c4d8e5f60718293a4b5/explain')
    const { request_id: _, ...problem } = foreign.json()
    const { request_id: __, ...other } = unknown.json()
    expect(foreign.statusCode).toBe(404)
    expect(problem).toEqual(other)
  })
})
