/** Workers at erasures: in bounded steps, each once, whoever dies. */
import { createIdSource, createMailLog, type Uuid } from '@valija/core'
import {
  acceptMessages,
  type Database,
  findErasure,
  insertErasure,
  openDatabase,
  type Settlement,
  settleAttempts,
  stepErasure,
} from '@valija/store'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { createDatabase } from '../../../tests/support/database.ts'
import { makeMessage } from '../../store/src/make-message.test-support.ts'
import { erasureRounds } from './erasure-rounds.ts'

const nextId = createIdSource(Date.now)
const tenantId = nextId()
const placeholder = 'erased-0@erased.invalid'
let database: Database
let drop: () => Promise<void>

beforeEach(async () => {
  const made = await createDatabase()
  drop = made.drop
  database = openDatabase({ url: made.url, onError: () => {} })
  await database.engine.query("INSERT INTO valija.tenants (id, name) VALUES ($1, 'acme')", [tenantId])
})
afterEach(async () => {
  await database.close()
  await drop()
})

/** Mails to the address that have their end. */
async function sent(count: number): Promise<void> {
  const messages = Array.from({ length: count }, () => makeMessage(nextId, tenantId))
  await acceptMessages(database.engine, messages, { directShare: 1_000_000 })
  await database.engine.query('DELETE FROM valija.deliveries')
}

const ask = async () => {
  const { id } = await insertErasure(database, {
    id: nextId(),
    tenantId,
    emailKey: 'ann@example.org',
    placeholder,
  })
  return id
}
const found = (id: Uuid) => findErasure(database, tenantId, id)
const left = async () =>
  (await database.engine.query("SELECT FROM valija.recipients WHERE email_key = 'ann@example.org'")).rowCount

const worker = () =>
  erasureRounds({
    database,
    clock: { nowMs: Date.now },
    nextId,
    wake: { send: () => {} },
    mailLog: createMailLog(() => {}),
    isStopped: () => false,
  })

test('a step takes some mails and no more, and the next goes on where it ended, whoever makes it', async () => {
  await sent(60)
  const id = await ask()
  const counts = []
  for (let progress = 'more'; progress === 'more'; ) {
    progress = await stepErasure(database, id)
    counts.push(await left())
  }
  expect(counts.slice(0, 3)).toEqual([35, 10, 0])
  expect(await found(id)).toMatchObject({ status: 'done', recipients: 60, bodies: 60 })
})

test('a step whose worker dies before its commit is as if it had not been begun', async () => {
  await sent(30)
  const id = await ask()
  // The connection is cut in the middle of the step.
  const client = await database.engine.connect()
  const cut = {
    connect: async () => ({
      query: async (query: unknown, values?: unknown[]) => {
        const text = typeof query === 'string' ? query : (query as { text: string }).text
        if (text.includes('UPDATE valija.messages')) throw new Error('the worker is gone')
        return client.query(query as string, values)
      },
      release: () => {},
    }),
  }
  const step = stepErasure({ ...database, engine: cut as unknown as Database['engine'] }, id)
  await expect(step.finally(() => client.release(true))).rejects.toThrow('gone')
  expect(await left()).toBe(30)
  await worker()()
  expect(await found(id)).toMatchObject({ status: 'done', recipients: 30, bodies: 30, cancelled: 0 })
})

test('the result of a worker that had lost the mail brings nothing back of what the server said', async () => {
  const message = makeMessage(nextId, tenantId)
  const recipientId = message.recipients[0]!.id
  await acceptMessages(database.engine, [message], { directShare: 1_000_000 })
  await database.engine.query('DELETE FROM valija.deliveries')
  await ask()
  await worker()()
  const report = {
    reply: '250 taken for Ann@example.org',
    transcript: [{ line: 'RCPT TO:<Ann@example.org>' }],
    host: 'mx.test',
  }
  const attempt = {
    id: nextId(),
    number: 1,
    outcome: 'delivered',
    reason: null,
    startedAt: new Date(),
    report,
  }
  const late: Settlement = {
    ...{
      recipientId,
      messageId: message.id,
      tenantId,
      epoch: 1,
      isSensitive: false,
      isFact: true,
      change: null,
    },
    ...{
      reason: null,
      reply: report.reply,
      enhancedStatus: null,
      attempts: 1,
      retrySteps: 1,
      nextInMs: null,
    },
    ...{ deliveredAt: new Date(), sizeBytes: 1, seq: 1, mailboxFault: null, events: [], attempt },
  }
  expect((await settleAttempts(database.engine, [late])).settled.size).toBe(0)
  const { rows } = await database.engine.query('SELECT report FROM valija.attempts')
  expect(rows).toEqual([{ report: { reply: null, transcript: [], host: 'mx.test' } }])
})

test('two workers do not do the same', async () => {
  await sent(80)
  const id = await ask()
  await Promise.all([worker()(), worker()()])
  await worker()()
  expect(await found(id)).toMatchObject({ status: 'done', recipients: 80, bodies: 80 })
  expect(await left()).toBe(0)
})

test('two persons of one mail: when the second is erased as well its content goes', async () => {
  const { recipients: some, ...made } = makeMessage(nextId, tenantId)
  const other = { ...some[0]!, id: nextId(), email: 'bob@example.org', emailKey: 'bob@example.org' }
  await acceptMessages(database.engine, [{ ...made, recipients: [...some, other] }], {
    directShare: 1_000_000,
  })
  await database.engine.query('DELETE FROM valija.deliveries')
  await database.engine.query('DELETE FROM valija.bodies')
  const hasSubject = async () =>
    (await database.engine.query("SELECT FROM valija.messages WHERE subject <> ''")).rowCount === 1
  await ask()
  await worker()()
  expect(await hasSubject()).toBe(true)
  await insertErasure(database, {
    id: nextId(),
    tenantId,
    emailKey: other.emailKey,
    placeholder: 'erased-1@erased.invalid',
  })
  await worker()()
  expect(await hasSubject()).toBe(false)
})
