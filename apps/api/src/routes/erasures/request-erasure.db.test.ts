/** POST /recipients/erase, by status, and what is left of a person afterwards. */
import { parseId } from '@valija/core'
import { countEvents, insertInboxMail } from '@valija/store'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openTestApi, type TestApi } from '../../open-api.test-support.ts'
import { attempt, attemptLeased, lease } from '../../settle.test-support.ts'
import { asOperator, expectFault, expectScope } from '../keys/refusals.test-support.ts'
import { dumpOf, erase, tablesWith, workOff } from './erasures.test-support.ts'

let api: TestApi
beforeAll(async () => {
  api = await openTestApi()
})
afterAll(() => api?.close())

const shown = async (id: string) => (await api.ask('GET', `/messages/${id}`)).json()
const stateOf = async (id: string) => (await api.ask('GET', `/erasures/${id}`)).json()
const soon = () => new Date(Date.now() + 3_600_000).toISOString()
const sql = (text: string, values: unknown[] = []) => api.foundation.database.engine.query(text, values)

describe('202', () => {
  test('what waits for the address is cancelled before it is answered, and no other', async () => {
    const alone = await api.send({ to: 'Cara@example.test', send_at: soon() })
    const deferred = await api.send({ to: 'cara@example.test' })
    await attempt(api, deferred.recipients[0]!.id, 451, '4.7.1', 'later')
    const both = await api.send({ to: ['cara@example.test', 'dan@example.test'] })
    const answer = await erase(api, 'CARA@example.test')
    expect(answer.statusCode).toBe(202)
    expect(answer.json()).toEqual({
      id: expect.stringMatching(/^ers_[0-9a-f]{32}$/),
      status: 'pending',
      placeholder: expect.stringMatching(/^erased-[0-9a-f]{32}@erased\.invalid$/),
      being_sent: 0,
      counts: { cancelled: 3, recipients: 0, bodies: 0, events: 0, attempts: 0 },
      requested_at: expect.any(String),
      completed_at: null,
    })
    expect(await shown(alone.id)).toMatchObject({ status: 'cancelled' })
    expect(await shown(deferred.id)).toMatchObject({ status: 'cancelled' })
    expect((await shown(both.id)).recipients).toMatchObject([{ status: 'cancelled' }, { status: 'queued' }])
  })

  test('what a worker has past recall is told, is not sent again, and is erased when it has its end', async () => {
    const { id, recipients } = await api.send({ to: 'eve@example.test' })
    const rcp = recipients[0]!.id
    await lease(api, rcp)
    const asked = (await erase(api, 'eve@example.test')).json()
    expect(asked).toMatchObject({ status: 'pending', being_sent: 1, counts: { cancelled: 0 } })
    await workOff(api)
    expect(await stateOf(asked.id)).toMatchObject({ status: 'pending', being_sent: 1 })
    // Its lease is lost: it would be sent by the next worker.
    await sql(`UPDATE valija.deliveries SET state = 'waiting', leased_until = NULL WHERE recipient_id = $1`, [
      parseId('recipient', rcp),
    ])
    expect(await lease(api, rcp)).toMatchObject({ isErased: true })
    await sql(`UPDATE valija.deliveries SET state = 'waiting', leased_until = NULL WHERE recipient_id = $1`, [
      parseId('recipient', rcp),
    ])
    await workOff(api)
    expect(await stateOf(asked.id)).toMatchObject({
      status: 'done',
      being_sent: 0,
      counts: { cancelled: 1, recipients: 1 },
    })
    expect((await shown(id)).recipients).toMatchObject([{ status: 'cancelled', email: asked.placeholder }])
  })

  test('asked again while it is pending it is the same one, and afterwards another; mail that comes later is mail as any', async () => {
    await api.send({ to: 'fay@example.test' })
    const first = (await erase(api, 'fay@example.test')).json()
    expect((await erase(api, 'Fay@example.test')).json()).toMatchObject({ id: first.id })
    const later = await api.send({ to: 'fay@example.test' })
    await workOff(api)
    expect(await stateOf(first.id)).toMatchObject({ status: 'done', counts: { cancelled: 1, recipients: 1 } })
    expect(await lease(api, later.recipients[0]!.id)).toMatchObject({ isErased: false })
    expect((await shown(later.id)).recipients).toMatchObject([
      { email: 'fay@example.test', status: 'sending' },
    ])
    const second = (await erase(api, 'fay@example.test')).json()
    expect(second.id).not.toBe(first.id)
    expect(second.placeholder).toBe(first.placeholder)
  })

  test('who asks is answered although somebody has a mail for long, and so is the next; workers do the rest', async () => {
    const held = await api.send({ to: 'nan@example.test', send_at: soon() })
    const other = await api.send({ to: 'oda@example.test', send_at: soon() })
    const holder = await api.foundation.database.engine.connect()
    const answers = []
    try {
      await holder.query('BEGIN')
      await holder.query('SELECT FROM valija.deliveries WHERE message_id = $1 FOR UPDATE', [
        parseId('message', held.id),
      ])
      answers.push(...(await Promise.all([erase(api, 'nan@example.test'), erase(api, 'oda@example.test')])))
    } finally {
      await holder.query('ROLLBACK')
      holder.release()
    }
    expect(answers.map(({ statusCode }) => statusCode)).toEqual([202, 202])
    await workOff(api)
    for (const answer of answers)
      await expect
        .poll(() => stateOf(answer.json().id), { timeout: 60_000 })
        .toMatchObject({ status: 'done', counts: { cancelled: 1 } })
    for (const { id } of [held, other]) expect(await shown(id)).toMatchObject({ status: 'cancelled' })
  })

  test('the operator may ask for a tenant; the audit log has it without the address', async () => {
    const asked = await api.ask('POST', '/recipients/erase', {
      ...asOperator(api.tenant.id),
      body: { email: 'gil@example.test' },
    })
    expect(asked.statusCode).toBe(202)
    const { data } = (await api.ask('GET', '/audit?action=erasure.requested&limit=1')).json()
    expect(data).toMatchObject([{ target: asked.json().id, count: 1 }])
    expect(JSON.stringify(data)).not.toContain('gil')
  })
})

/** How much is counted under tags, whichever. */
const countsByTag = async () =>
  (
    await sql(
      'SELECT span, outcome, sum(count) FROM valija.tag_stats WHERE tenant_id = $1 GROUP BY 1, 2 ORDER BY 1, 2',
      [api.tenant.id],
    )
  ).rows

/** Everything in which an address can stand, of one person, in both tenants. */
async function liveWith(email: string, key: string, tenantId: string): Promise<void> {
  const send = async (fields: object, headers: Record<string, string> = {}) => {
    const body = {
      from: 'Acme <hello@acme.test>',
      subject: `Dear ${email}`,
      text: `Hello ${email}!`,
      ...fields,
    }
    return (await api.ask('POST', '/send', { key, headers, body })).json()
  }
  const personal = { tags: [email], metadata: { who: email, [email]: 'x' } }
  const alone = await send(
    { to: `Zoe Zett <${email}>`, html: `<a href="mailto:${email}">x</a>`, ...personal },
    { 'idempotency-key': `one-${tenantId}` },
  )
  await send({ to: email, send_at: soon() }, { 'idempotency-key': `for-${email}` })
  const several = await send({
    to: [`Zoe Zett <${email}>`, 'other@example.test'],
    cc: 'third@example.test',
    ...personal,
  })
  for (const { id } of several.recipients) await attempt(api, id, 250, '2.0.0', `Ok ${email}`)
  const raw = [
    'From: hello@acme.test',
    `To: "Zett, Zoe" <${email}>, other@example.test`,
    'Subject: x',
    '',
    `Hi ${email}`,
    '',
  ].join('\r\n')
  const rawMail = (
    await api.ask('POST', '/send', {
      key,
      body: {
        from: 'hello@acme.test',
        to: [email, 'other@example.test'],
        raw: Buffer.from(raw).toString('base64'),
      },
    })
  ).json()
  for (const { id } of rawMail.recipients) await attempt(api, id, 250, '2.0.0', 'Ok')
  for (const [message, rcptTo] of [
    [alone, email],
    [several, 'other@example.test'],
  ] as const)
    await insertInboxMail(api.foundation.database.engine, {
      id: api.foundation.nextId(),
      tenantId,
      messageId: parseId('message', message.id)!,
      receivedAt: new Date(),
      mailFrom: 'hello@acme.test',
      rcptTo: [rcptTo],
      raw: Buffer.from(raw),
    })
  const { id } = (await api.ask('POST', '/suppressions', { key, body: { email, stream: 'bulk' } })).json()
  await api.ask('DELETE', `/suppressions/${id}`, { key })
  await attempt(api, alone.recipients[0].id, 550, '5.1.1', `<${email}>: no such user zoe.zett`)
  await api.ask('POST', '/suppressions', { key, body: { email } })
  await sql(
    `INSERT INTO valija.usage (tenant_id, owner_id, name, email_key, used, ends_at) VALUES ($1, $1, 'recipients_per_hour_to_one_address', $2, 1, now())`,
    [tenantId, email],
  )
  await sql(
    `INSERT INTO valija.webhook_tries (id, tenant_id, webhook_id, event_id, event_type, number, outcome, response_start, started_at, duration_ms)
     SELECT valija.new_id(), $1, w.id, e.id, e.type, 1, 'delivered', 'got it: ' || (e.data ->> 'email'), now(), 1
     FROM valija.webhooks AS w JOIN valija.events AS e USING (tenant_id) WHERE w.tenant_id = $1`,
    [tenantId],
  )
}

describe('what is kept about a person', () => {
  const email = 'zoe.zett@example.test'
  const inAll = [
    'attempts',
    'bodies',
    'events',
    'idempotency_keys',
    'inbox',
    'mailbox_faults',
    'messages',
    'recipients',
    'suppression_removals',
    'suppressions',
    'tag_stats',
    'usage',
    'webhook_tries',
  ]

  test('stands nowhere afterwards, in no table there is, but on the suppression list; and of others nothing is touched', async () => {
    for (const { key, id } of [api.tenant, api.stranger]) {
      await api.ask('POST', '/webhooks', { key, body: { url: 'https://a.test/', events: ['*'] } })
      await sql(
        `INSERT INTO valija.domains (id, tenant_id, name, status, is_vouched, token) VALUES (valija.new_id(), $1, 'acme.test', 'verified', true, 't')`,
        [id],
      )
      await liveWith(email, key, id)
      await api.ask('POST', '/send', {
        key,
        body: { from: 'hello@acme.test', to: `jo.${email}`, subject: 'x', text: 'x' },
      })
    }
    await expect
      .poll(
        async () => {
          await countEvents(api.foundation.database.engine, { notWithinMs: 0, most: 1_000 })
          const dumps = [await dumpOf(api, api.tenant.id), await dumpOf(api, api.stranger.id)]
          return dumps.map((dump) => tablesWith(dump, email))
        },
        { timeout: 60_000 },
      )
      .toEqual([inAll, inAll])
    const counted = await countsByTag()
    const before = await dumpOf(api, api.stranger.id)
    const { id } = (await erase(api, email)).json()
    await workOff(api)
    expect(await stateOf(id)).toMatchObject({ status: 'done' })
    expect(await countsByTag()).toEqual(counted)

    const dump = await dumpOf(api, api.tenant.id)
    expect(dump.get('recipients')).toContain(`jo.${email}`)
    const withoutOthers = new Map(
      [...dump].map(([table, text]) => [table, text.toLowerCase().replaceAll('jo.zoe.zett', '')]),
    )
    for (const word of [email, 'zoe.zett', 'Zoe Zett', 'Zett, Zoe'])
      expect([word, tablesWith(withoutOthers, word)]).toEqual([
        word,
        word.includes('.') ? ['suppressions'] : [],
      ])
    expect(withoutOthers.get('suppressions')).not.toContain('no such user')
    const after = await dumpOf(api, api.stranger.id)
    for (const table of inAll) expect([table, after.get(table)]).toEqual([table, before.get(table)])
  })

  test('is found by nobody, and is not sent to again; the others still have their mail', async () => {
    expect((await api.ask('GET', `/messages?to=${email}`)).json().data).toEqual([])
    expect((await api.ask('GET', `/inbox?to=${email}`)).json().data).toEqual([])
    expect((await api.ask('GET', `/suppressions?email=${email}`)).json().data).toMatchObject([
      { email, reply: null, message_id: null },
    ])
    expect((await api.send({ to: email })).recipients[0]).toMatchObject({ status: 'suppressed' })
    const [several] = (await api.ask('GET', '/messages?to=third@example.test')).json().data
    const raw = (await api.ask('GET', `/messages/${several.id}/raw`)).body
    expect(raw).toMatch(/^To: erased-[0-9a-f]{32}@erased\.invalid, *\r\n? *other@example\.test|^To: erased/m)
    expect(raw).toContain('Cc: third@example.test')
  })
})

test('what is written of others after the person was erased is rid of the address when they have their end', async () => {
  const mail = {
    to: ['Lea <lea@example.test>', 'mia@example.test'],
    tags: ['for-lea', 'lea@example.test'],
    metadata: { who: 'lea@example.test' },
  }
  const [begun, untouched] = [await api.send(mail), await api.send(mail)]
  await attempt(api, begun.recipients[0]!.id, 250, '2.0.0', 'Ok')
  const told = 'Ok, as for lea@example.test'
  const leased = await lease(api, begun.recipients[1]!.id)
  const asked = (await erase(api, 'lea@example.test')).json()
  await workOff(api)
  await attemptLeased(api, leased, 250, '2.0.0', told)
  await countEvents(api.foundation.database.engine, { notWithinMs: 0, most: 1_000 })
  await workOff(api)
  // That one's worker had it as it was; this one was begun by nobody, and has been changed.
  expect(await stateOf(asked.id)).toMatchObject({ status: 'pending', counts: { bodies: 2 } })
  await attempt(api, untouched.recipients[1]!.id, 250, '2.0.0', told)
  await workOff(api)
  expect(await stateOf(asked.id)).toMatchObject({ status: 'done' })
  expect(tablesWith(await dumpOf(api, api.tenant.id), 'lea@example.test')).toEqual([])
})

test('a mail that others are still to get keeps its bytes until they have it, and is rid of the address then', async () => {
  const { id, recipients } = await api.send({ to: ['hal@example.test', 'ida@example.test'] })
  await attempt(api, recipients[1]!.id, 451, '4.7.1', 'later')
  const bodyOf = async () =>
    (await sql('SELECT content FROM valija.bodies WHERE message_id = $1', [parseId('message', id)])).rows[0]
      .content as Buffer
  const before = await bodyOf()
  const asked = (await erase(api, 'hal@example.test')).json()
  await workOff(api)
  expect(await stateOf(asked.id)).toMatchObject({ status: 'pending', counts: { recipients: 1 } })
  expect((await bodyOf()).equals(before)).toBe(true)
  await attempt(api, recipients[1]!.id, 250, '2.0.0', 'Ok')
  await workOff(api)
  expect(await stateOf(asked.id)).toMatchObject({ status: 'done', counts: { bodies: 1 } })
  expect((await api.ask('GET', `/messages/${id}/raw`)).body).not.toContain('hal@')
})

test('what was erased is not sent again, and the others get theirs without the address', async () => {
  const { id, recipients } = await api.send({ to: ['Jan <jan@example.test>', 'kim@example.test'] })
  const alone = await api.send({ to: 'jan@example.test' })
  for (const { id: rcp } of [...recipients, ...alone.recipients]) await attempt(api, rcp, 250, '2.0.0', 'Ok')
  await erase(api, 'jan@example.test')
  await workOff(api)
  const again = (await api.ask('POST', `/messages/${id}/resend`)).json()
  expect(again.recipients).toMatchObject([{ email: 'kim@example.test' }])
  const raw = (await api.ask('GET', `/messages/${again.id}/raw`)).body
  expect(raw).toContain('To: kim@example.test')
  expect(raw).not.toContain('erased')
  expect((await api.ask('POST', `/messages/${alone.id}/resend`)).json()).toMatchObject({
    status: 409,
    code: 'conflict',
  })
})

test('copies that the inbox has of a mail to several go with the address, in whatever way they hold it', async () => {
  const { id, recipients } = await api.send({ to: ['lea@example.test', 'max@example.test'] })
  for (const { id: rcp } of recipients) await attempt(api, rcp, 250, '2.0.0', 'Ok')
  await insertInboxMail(api.foundation.database.engine, {
    id: api.foundation.nextId(),
    tenantId: api.tenant.id,
    messageId: parseId('message', id)!,
    receivedAt: new Date(),
    mailFrom: 'hello@acme.test',
    rcptTo: ['max@example.test'],
    raw: Buffer.from(
      ['Content-Transfer-Encoding: base64', '', Buffer.from('lea@example.test').toString('base64')].join(
        '\r\n',
      ),
    ),
  })
  const caught = async () => (await api.ask('GET', '/inbox?to=max@example.test')).json().data.length
  expect(await caught()).toBe(1)
  await erase(api, 'lea@example.test')
  await workOff(api)
  expect(await caught()).toBe(0)
})

describe('a request that is repeated with its key after the erasure', () => {
  const keyed = (key: string, to: string[]) =>
    api.ask('POST', '/send', {
      headers: { 'idempotency-key': key },
      body: { from: 'hello@acme.test', to, subject: 'x', text: 'x' },
    })
  const sentTwice = async (key: string, to: string[]) => {
    const first = (await keyed(key, to)).json()
    for (const { id } of first.recipients) await attempt(api, id, 250, '2.0.0', 'Ok')
    await erase(api, to[0]!)
    await workOff(api)
    return { first, again: await keyed(key, to) }
  }

  test.each([
    ['that does not name the person', 'order-7', ['nia@example.test']],
    [
      'that names the person, of a mail to several',
      'for-oda@example.test',
      ['oda@example.test', 'pia@example.test'],
    ],
  ])('%s is refused and sends nothing again', async (_, key, to) => {
    const { again } = await sentTwice(key, to)
    expect([again.statusCode, again.json().code]).toEqual([409, 'idempotency_key_reused'])
    const message = { from: 'hello@acme.test', to, subject: 'x', text: 'x', idempotency_key: key }
    const batch = await api.ask('POST', '/send/batch?mode=permissive', { body: { messages: [message] } })
    expect(batch.json().data).toMatchObject([{ problem: { code: 'idempotency_key_reused' } }])
    const kept = await sql('SELECT FROM valija.idempotency_keys WHERE key LIKE $1', [`%${to[0]}%`])
    expect(kept.rowCount).toBe(0)
  })

  test('that names the person, of a mail to nobody else, is a new one', async () => {
    const { first, again } = await sentTwice('for-quin@example.test', ['quin@example.test'])
    expect(again.statusCode).toBe(202)
    expect(again.json().id).not.toBe(first.id)
  })

  test('cannot be tried out by what is kept of it', async () => {
    const key = 'order-8'
    const hash = async () =>
      (await sql('SELECT body_hash AS hash FROM valija.idempotency_keys WHERE key = $1', [key])).rows[0].hash
    await keyed(key, ['rob@example.test'])
    const before = await hash()
    await erase(api, 'rob@example.test')
    await workOff(api)
    expect(before.equals(await hash())).toBe(false)
  })
})

test('400 for what is no address', async () => {
  await expectFault(api, 'POST', '/recipients/erase', { email: 'nobody' }, '/email')
})

test('401 and 403 without a key that has the scope manage', () =>
  expectScope(api, 'POST', '/recipients/erase', 'manage', { email: 'x@example.test' }))
