/**
 * What settle makes of answers about mailboxes, on a real PostgreSQL: suppressed at once, held back, confirmed, lifted.
 * Days go by in the tables: `age` makes everything that an address is remembered for older.
 */
import { createIdSource, type MailboxFault, type Uuid } from '@valija/core'
import pg from 'pg'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { createDatabase } from '../../../tests/support/database.ts'
import { until } from '../../../tests/support/until.ts'
import { acceptMessages, type NewMessage, type NewRecipient } from './accept-messages.ts'
import { type Database, openDatabase } from './database.ts'
import { leaseDeliveries } from './lease-deliveries.ts'
import { type Settlement, settleAttempts } from './settle-attempts.ts'
import { forgetOldFaults, liftQuarantines } from './suppress-mailboxes.ts'
import { listSuppressions } from './suppressions.ts'

let database: Database
let databaseUrl: string
let drop: () => Promise<void>
const nextId = createIdSource(() => Date.now())
let tenantId: Uuid

beforeAll(async () => {
  const made = await createDatabase()
  drop = made.drop
  databaseUrl = made.url
  database = openDatabase({ url: made.url, onError: () => {} })
})
afterAll(async () => {
  await database.close()
  await drop()
})
beforeEach(async () => {
  tenantId = await newTenant()
  await sql('DELETE FROM valija.mailbox_faults')
  await sql('DELETE FROM valija.provider_unknown_rates')
})

async function administer(text: string): Promise<void> {
  const owner = new pg.Client(databaseUrl)
  await owner.connect()
  await owner.query(text).finally(() => owner.end())
}

const sql = (text: string, values: unknown[] = []) => database.engine.query(text, values)

async function newTenant(): Promise<Uuid> {
  const id = nextId()
  await sql('INSERT INTO valija.tenants (id, name) VALUES ($1, $2)', [id, id])
  return id
}

function newMessage(email: string, owner = tenantId, more: Partial<NewMessage> = {}): NewMessage {
  const id = nextId()
  return {
    id,
    tenantId: owner,
    createdAtMs: Date.now(),
    stream: 'transactional',
    delivery: 'mx',
    route: 'mx',
    fromHeader: 'hi@acme.test',
    fromEmail: 'hi@acme.test',
    fromDomain: 'acme.test',
    subject: '',
    tags: ['t'],
    metadata: {},
    sendAtMs: null,
    expiresAtMs: Date.now() + 3_600_000,
    rfcMessageId: `<${id}@acme.test>`,
    requireTls: false,
    isSimulated: false,
    isSensitive: false,
    isSandbox: false,
    resentFrom: null,
    template: null,
    lateAtMs: null,
    body: Buffer.from('x'),
    recipients: [newRecipient(email)],
    events: [],
    idempotency: null,
    ...more,
  }
}

function newRecipient(email: string): NewRecipient {
  return {
    id: nextId(),
    email,
    emailKey: email.toLowerCase(),
    domain: email.split('@')[1]!,
    type: 'to',
    status: 'queued',
    reason: null,
    simulation: null,
    seq: 1,
  }
}

const accept = (...messages: NewMessage[]) =>
  acceptMessages(database.engine, messages, { directShare: 1_000 })

/** What stops a mail to the address at its acceptance. */
async function stopOf(address: string, owner = tenantId): Promise<string | null> {
  const { results } = await accept(newMessage(address, owner))
  return results[0]!.kind === 'suppressed' ? [...results[0]!.hits.values()][0]!.reason : null
}

/** Accepts and leases a mail to each address; gives what a worker would settle for each when the end is as told. */
async function send(addresses: readonly string[], owner = tenantId) {
  const messages = addresses.map((email) => newMessage(email, owner))
  const { results } = await accept(...messages)
  expect(new Set(results.map((result) => result.kind))).toEqual(new Set(['accepted']))
  const ids = messages.map((message) => message.recipients[0]!.id)
  await leaseDeliveries(database.engine, ids)
  return messages.map((message): Settlement => {
    const { id, domain } = message.recipients[0]!
    return {
      recipientId: id,
      messageId: message.id,
      tenantId: owner,
      epoch: 1,
      isSensitive: false,
      isFact: true,
      change: { to: 'bounced', from: ['queued'] },
      reason: 'mailbox_unknown',
      reply: '550 5.1.1 no such user',
      enhancedStatus: '5.1.1',
      attempts: 1,
      retrySteps: 1,
      nextInMs: null,
      deliveredAt: null,
      sizeBytes: 100,
      seq: 2,
      mailboxFault: { fault: 'mailbox_unknown', provider: domain },
      attempt: null,
      events: [],
    }
  })
}

/** Mails to these addresses end with a fault, in one batch. */
async function bounce(
  addresses: readonly string[],
  fault: MailboxFault = 'mailbox_unknown',
  owner = tenantId,
) {
  const settlements = await send(addresses, owner)
  return settleAttempts(
    database.engine,
    settlements.map((settlement) => ({
      ...settlement,
      mailboxFault: { ...settlement.mailboxFault!, fault },
    })),
  )
}

/** A mail to the address is taken. */
async function deliver(address: string, more: Partial<Settlement> = {}) {
  const [settlement] = await send([address])
  const taken = {
    change: { to: 'delivered', from: ['queued'] },
    deliveredAt: new Date(),
    mailboxFault: null,
  } as const
  await settleAttempts(database.engine, [{ ...settlement!, ...taken, ...more }])
}

/** Lets days go by for what is remembered of the tenant's addresses. */
async function age(days: number) {
  const by = `make_interval(secs => ${days * 86_400})`
  await sql(`UPDATE valija.mailbox_faults SET at = at - ${by} WHERE tenant_id = $1`, [tenantId])
  await sql(`UPDATE valija.suppressions SET quarantined_at = quarantined_at - ${by} WHERE tenant_id = $1`, [
    tenantId,
  ])
  await sql(`UPDATE valija.recipients SET delivered_at = delivered_at - ${by} WHERE tenant_id = $1`, [
    tenantId,
  ])
}

const statusOf = async (address: string, owner = tenantId) => {
  const page = { limit: 10, after: null }
  const [entry] = await listSuppressions(database, owner, { emailKey: address.toLowerCase() }, page)
  if (entry === undefined) return 'none'
  return entry.quarantinedAt === null ? 'active' : 'quarantined'
}

/** The events about entries: type and address, in order. */
const told = async (owner = tenantId): Promise<string[]> => {
  const { rows } = await sql(
    `SELECT type, data FROM valija.events WHERE tenant_id = $1 AND type LIKE 'suppression.%' ORDER BY transaction, id`,
    [owner],
  )
  return rows.map((row) => `${row.type.replace('suppression.', '')} ${row.data.email}`)
}

const many = (count: number, from = 0) => Array.from({ length: count }, (_, i) => `user${from + i}@big.test`)

describe('a mailbox that does not exist', () => {
  test('is suppressed with its bounce, and told of once, however many mails to it end so', async () => {
    const late = await send(['gone@example.org'])
    await bounce(['Gone@example.org', 'gone@example.org'])
    await settleAttempts(database.engine, late)
    expect(await statusOf('gone@example.org')).toBe('active')
    expect(await told()).toHaveLength(1)
    expect(await stopOf('GONE@example.org')).toBe('mailbox_unknown')
    expect(await stopOf('gone@example.org', await newTenant())).toBeNull()
  })

  test('is not bounced either when it could not be suppressed: both, or nothing', async () => {
    const [settlement] = await send(['half@example.org'])
    const grant = (verb: string) => administer(`${verb} valija_engine`)
    await grant('REVOKE INSERT ON valija.suppressions FROM')
    await expect(settleAttempts(database.engine, [settlement!])).rejects.toMatchObject({ code: '42501' })
    await grant('GRANT INSERT ON valija.suppressions TO')
    const { rows } = await sql('SELECT status FROM valija.recipients WHERE id = $1', [
      settlement!.recipientId,
    ])
    expect(rows).toEqual([{ status: 'queued' }])
    await settleAttempts(database.engine, [settlement!])
    expect(await statusOf('half@example.org')).toBe('active')
  })

  test('is left alone when somebody else had taken the mail over', async () => {
    const [settlement] = await send(['late@example.org'])
    await settleAttempts(database.engine, [{ ...settlement!, isFact: false, epoch: 7 }])
    expect(await statusOf('late@example.org')).toBe('none')
  })

  test('is quarantined when the address took mail within 30 days, and confirmed a day later', async () => {
    await deliver('ann@example.org')
    await age(29)
    await bounce(['ann@example.org'])
    expect(await statusOf('ann@example.org')).toBe('quarantined')
    expect(await told()).toEqual([])
    expect(await stopOf('ann@example.org')).toBeNull()
    await age(1)
    await bounce(['ann@example.org'])
    expect(await statusOf('ann@example.org')).toBe('active')
    expect(await told()).toEqual(['added ann@example.org'])
  })

  test('is confirmed by the third mail of a day, but not when one was taken in between', async () => {
    await deliver('bob@example.org')
    await bounce(['bob@example.org'])
    await bounce(['bob@example.org'])
    expect(await statusOf('bob@example.org')).toBe('quarantined')
    await age(0.01)
    await deliver('bob@example.org')
    await bounce(['bob@example.org'])
    await bounce(['bob@example.org'])
    expect(await statusOf('bob@example.org')).toBe('quarantined')
    await bounce(['bob@example.org'])
    expect(await statusOf('bob@example.org')).toBe('active')
  })

  test('is suppressed at once when it took its last mail 31 days ago, or only a simulated one', async () => {
    await deliver('carl@example.org')
    await age(31)
    await deliver('dora@example.org', { sizeBytes: null })
    await bounce(['carl@example.org', 'dora@example.org'])
    expect([await statusOf('carl@example.org'), await statusOf('dora@example.org')]).toEqual([
      'active',
      'active',
    ])
  })
})

describe('a provider that denies 20 addresses within 10 minutes, over 3 times as many as usual', () => {
  test('is not believed: what it denied before is held back too, over all tenants', async () => {
    const other = await newTenant()
    await bounce(many(10))
    await bounce(['first@big.test'], 'mailbox_unknown', other)
    expect(await statusOf('user0@big.test')).toBe('active')
    await bounce(many(9, 10))
    for (const address of ['user0@big.test', 'user18@big.test']) {
      expect(await statusOf(address)).toBe('quarantined')
    }
    expect(await statusOf('first@big.test', other)).toBe('quarantined')
    expect(await told(other)).toEqual(['added first@big.test', 'removed first@big.test'])
    await bounce(['one@small.test', 'user99@big.test'])
    expect([await statusOf('one@small.test'), await statusOf('user99@big.test')]).toEqual([
      'active',
      'quarantined',
    ])
  })

  test('is believed when it does so all the time', async () => {
    await bounce(many(50, 100))
    await sql(`DELETE FROM valija.suppressions WHERE tenant_id = $1`, [tenantId])
    // 144 times 10 minutes of 10 addresses each.
    await sql(
      `INSERT INTO valija.mailbox_faults (recipient_id, tenant_id, email_key, provider, reason, at)
       SELECT gen_random_uuid(), $1, n || '@big.test', 'big.test', 'mailbox_unknown', now() - interval '11 min' - n * interval '1 min'
       FROM generate_series(1, 1440) AS n`,
      [tenantId],
    )
    await sql(`DELETE FROM valija.mailbox_faults WHERE at > now() - interval '10 min'`)
    await sql('DELETE FROM valija.provider_unknown_rates')
    await bounce(many(25, 200))
    // One address a minute is ten in ten minutes: 25 are not over 3 times as many, 31 are.
    expect(await statusOf('user200@big.test')).toBe('active')
    await bounce(many(6, 300))
    expect(await statusOf('user200@big.test')).toBe('quarantined')
  })

  test('confirms nothing meanwhile, and is believed again when it is over', async () => {
    await bounce(many(20))
    expect(await statusOf('user0@big.test')).toBe('quarantined')
    await age(1)
    await bounce(['user0@big.test', ...many(20, 20)])
    expect(await statusOf('user0@big.test')).toBe('quarantined')
    await age(1)
    await bounce(['user0@big.test'])
    expect(await statusOf('user0@big.test')).toBe('active')
  })

  test('is counted by addresses and not by mails', async () => {
    await bounce(Array(30).fill('same@big.test'))
    expect(await statusOf('same@big.test')).toBe('active')
  })
})

describe.each(['mailbox_full', 'mailbox_disabled'] as const)('%s', (fault) => {
  test('does not count what was said of another kind', async () => {
    await deliver('hal@example.org')
    await bounce(['hal@example.org'])
    await bounce(['hal@example.org'])
    await bounce(['hal@example.org'], fault)
    expect(await statusOf('hal@example.org')).toBe('quarantined')
  })

  test('is suppressed by the third mail within 14 days', async () => {
    await bounce(['eve@example.org'], fault)
    await age(6)
    await bounce(['eve@example.org'], fault)
    expect(await statusOf('eve@example.org')).toBe('none')
    await age(7)
    await bounce(['eve@example.org'], fault)
    expect(await statusOf('eve@example.org')).toBe('active')
    expect(await told()).toEqual(['added eve@example.org'])
  })

  test('is not when the first is older, or when a mail was taken in between', async () => {
    await bounce(['fay@example.org'], fault)
    await age(14)
    await bounce(['fay@example.org', 'gus@example.org'], fault)
    await bounce(['fay@example.org', 'gus@example.org'], fault)
    await age(0.01)
    await deliver('gus@example.org')
    await bounce(['gus@example.org'], fault)
    expect([await statusOf('fay@example.org'), await statusOf('gus@example.org')]).toEqual(['none', 'none'])
  })
})

describe('while another worker suppresses the same addresses', () => {
  const insert = `INSERT INTO valija.suppressions (id, tenant_id, email, email_key, reason)
    VALUES (valija.new_id(), $1, $2, $2, 'mailbox_unknown')`

  test('a batch waits holding none of those that come later, and tells of nothing twice', async () => {
    const settlements = await send(['b@example.org', 'a@example.org'])
    const other = new pg.Client(databaseUrl)
    await other.connect()
    await other.query("SET lock_timeout = '2s'; BEGIN")
    await other.query(insert, [tenantId, 'a@example.org'])
    const settling = settleAttempts(database.engine, settlements)
    await until('the batch waits', async () => {
      const waiting =
        'SELECT FROM pg_locks WHERE NOT granted AND transactionid::text = pg_current_xact_id()::text'
      return (await other.query(waiting)).rowCount === 1
    })
    await other.query(insert, [tenantId, 'b@example.org'])
    await other.query('COMMIT').finally(() => other.end())
    expect((await settling).settled.size).toBe(2)
    expect(await told()).toEqual([])
    expect([await statusOf('a@example.org'), await statusOf('b@example.org')]).toEqual(['active', 'active'])
  })
})

test('a quarantined address that took a mail since is off the list; others, and what is in force, stay', async () => {
  for (const address of ['ida@example.org', 'jan@example.org']) {
    await deliver(address)
    await age(0.01)
    await bounce([address])
  }
  await bounce(['kim@example.org'])
  await age(0.01)
  await deliver('ida@example.org')
  for (let place = await liftQuarantines(database.engine, null); place; ) {
    place = await liftQuarantines(database.engine, place)
  }
  const statuses = ['ida', 'jan', 'kim'].map((name) => statusOf(`${name}@example.org`))
  expect(await Promise.all(statuses)).toEqual(['none', 'quarantined', 'active'])
})

test('faults are forgotten after 14 days', async () => {
  await bounce(['lea@example.org'], 'mailbox_full')
  await age(15)
  await bounce(['max@example.org'], 'mailbox_full')
  expect(await forgetOldFaults(database.engine)).toBe(1)
  expect((await sql('SELECT email_key FROM valija.mailbox_faults')).rows).toEqual([
    { email_key: 'max@example.org' },
  ])
})

test('a recipient that is suppressed since its acceptance is leased with what stops it, one that is quarantined is not', async () => {
  const [first] = await send(['nia@example.org'])
  await bounce(['nia@example.org', 'ole@example.org'])
  await sql(`UPDATE valija.suppressions SET quarantined_at = now() WHERE email = 'ole@example.org'`)
  const [second] = await send(['ole@example.org'])
  const ids = [first!.recipientId, second!.recipientId]
  await sql(
    `UPDATE valija.deliveries SET state = 'admitted', admitted_at = now() WHERE recipient_id = ANY ($1)`,
    [ids],
  )
  const { deliveries } = await leaseDeliveries(database.engine, ids)
  expect(deliveries.map(({ email, suppression }) => [email, suppression?.reason ?? null]).sort()).toEqual([
    ['nia@example.org', 'mailbox_unknown'],
    ['ole@example.org', null],
  ])
})

test('a message with a suppressed recipient is left out of its batch, whole, and comes back with what was found', async () => {
  await bounce(['gone@example.org'])
  const key = { key: 'k', bodyHash: Buffer.from('x'), response: 'r', expiresAtMs: Date.now() + 60_000 }
  const recipients = ['ann@example.org', 'gone@example.org'].map(newRecipient)
  const event = {
    id: nextId(),
    tenantId,
    type: 'message.accepted',
    createdAtMs: Date.now(),
    data: {},
  } as const
  const draft = newMessage('', tenantId, { recipients, idempotency: key })
  const stopped = { ...draft, events: [{ ...event, messageId: draft.id }] }
  const other = newMessage('bob@example.org')
  const { results } = await accept(stopped, other)
  const hit = { id: expect.any(String), reason: 'mailbox_unknown' }
  expect(results).toEqual([
    { kind: 'suppressed', hits: new Map([[recipients[1]!.id, hit]]) },
    { kind: 'accepted', admitted: [other.recipients[0]!.id] },
  ])
  for (const [table, column] of [
    ['messages', 'id'],
    ['bodies', 'message_id'],
    ['recipients', 'message_id'],
    ['deliveries', 'message_id'],
    ['events', 'message_id'],
    ['idempotency_keys', 'message_id'],
  ] as const) {
    const rows = await sql(`SELECT FROM valija.${table} WHERE ${column} = $1`, [stopped.id])
    expect([table, rows.rowCount]).toEqual([table, 0])
  }
  const again = {
    ...stopped,
    recipients: [recipients[0]!, { ...recipients[1]!, status: 'suppressed' as const }],
  }
  expect((await accept(again)).results).toEqual([{ kind: 'accepted', admitted: [recipients[0]!.id] }])
})
