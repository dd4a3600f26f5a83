/** Workers at erasures: in bounded steps, each once, whoever dies. */
import { createIdSource, createMailLog, createSealer, type Uuid } from '@valija/core'
import {
  acceptMessages,
  type Database,
  decodeBody,
  encodeBody,
  findDueErasures,
  findErasure,
  insertErasure,
  type NewMessage,
  openDatabase,
  type Settlement,
  settleAttempts,
  stepErasure,
} from '@valija/store'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { createDatabase } from '../../../tests/support/database.ts'
import { makeMessage } from '../../store/src/make-message.test-support.ts'
import { stopMails } from './erase-person.ts'
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
async function sent(count: number, others: NewMessage[] = []): Promise<void> {
  const messages = Array.from({ length: count }, () => mailTo(['ann']))
  await acceptMessages(database.engine, messages, { directShare: 1_000_000 })
  await database.engine.query('DELETE FROM valija.deliveries WHERE message_id <> ALL ($1)', [
    others.map(({ id }) => id),
  ])
}

/** A mail that names ann in its text, and all in its header. */
function mailTo(names: string[], more: Partial<NewMessage> = {}): NewMessage {
  const made = makeMessage(nextId, tenantId)
  const to = names.map((name) => `${name}@example.org`)
  const raw = `From: hi@acme.test\r\nTo: ${to.join(', ')}\r\n\r\nDear ann@example.org,\r\n`
  const recipients = to.map((email) => ({ ...made.recipients[0]!, id: nextId(), email, emailKey: email }))
  return {
    ...{ ...made, recipients },
    body: encodeBody({ kind: 'raw', bytes: Buffer.from(raw), needsSmtpUtf8: false }),
    ...more,
  }
}

const accept = (...messages: NewMessage[]) =>
  acceptMessages(database.engine, messages, { directShare: 1_000_000 })

const ask = async (emailKey = 'ann@example.org') => {
  const { id } = await insertErasure(database, { id: nextId(), tenantId, emailKey, placeholder })
  return id
}
const textOf = async (messageId: Uuid) => {
  const { rows } = await database.engine.query('SELECT content FROM valija.bodies WHERE message_id = $1', [
    messageId,
  ])
  const body = decodeBody(rows[0].content)
  return body.kind === 'raw' ? body.bytes.toString() : ''
}
const found = (id: Uuid) => findErasure(database, tenantId, id)
const left = async () =>
  (await database.engine.query("SELECT FROM valija.recipients WHERE email_key = 'ann@example.org'")).rowCount

const hide = (_: Uuid, key: string) => `hidden ${key}`
const parts = {
  sealer: createSealer(['a-secret-of-this-test-long-enough']),
  clock: { nowMs: Date.now },
  nextId,
  wake: { send: () => {} },
  mailLog: createMailLog(() => {}),
  isStopped: () => false,
}
const worker = (onError: (error: Error) => void = (error) => expect.unreachable(error.message)) =>
  erasureRounds({ ...parts, database, onError })

test('a step takes some mails and no more, and the next goes on where it ended, whoever makes it', async () => {
  await sent(60)
  const id = await ask()
  const counts = []
  for (let progress = 'more'; progress === 'more'; ) {
    progress = await stepErasure(database, id, hide)
    counts.push(await left())
  }
  expect(counts.slice(0, 3)).toEqual([35, 10, 0])
  expect(await found(id)).toMatchObject({ status: 'done', recipients: 60, bodies: 60 })
})

test('a step reads its own mails, and not what was accepted between them', async () => {
  await sent(5)
  const mailToMany = () => mailTo(Array.from({ length: 20 }, (_, at) => `u${at}`))
  // Not all at once: accepting has a time by which it must have committed.
  for (let i = 0; i < 10; i++) await accept(...Array.from({ length: 50 }, mailToMany))
  await sent(5)
  const id = await ask()
  const client = await database.engine.connect()
  let read = 0
  const watched = {
    connect: async () => ({
      query: async (query: string, values?: unknown[]) => {
        if (query === 'COMMIT') {
          const { rows } = await client.query(
            `SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0))::int AS read FROM pg_stat_xact_user_tables WHERE relname LIKE 'recipients%'`,
          )
          read = rows[0].read
        }
        return client.query(query, values)
      },
      release: () => {},
    }),
  }
  await stepErasure({ ...database, engine: watched as unknown as Database['engine'] }, id, hide)
  client.release()
  expect(await found(id)).toMatchObject({ recipients: 10 })
  expect(read).toBeGreaterThan(10)
  expect(read).toBeLessThan(500)
})

test('what waits is found at the end of a long history, which is read in pieces', async () => {
  const waiting = mailTo(['ann'])
  await accept(waiting)
  await sent(1, [waiting])
  await database.engine.query(
    `INSERT INTO valija.recipients SELECT (jsonb_populate_record(r, jsonb_build_object('id', valija.new_id()))).*
     FROM valija.recipients AS r, generate_series(1, 1200) WHERE r.message_id <> $1`,
    [waiting.id],
  )
  const lengths: number[] = []
  const engine = {
    query: async (query: string, values?: unknown[]) => {
      const result = await database.engine.query(query, values)
      lengths.push(result.rows.length)
      return result
    },
    connect: () => database.engine.connect(),
  }
  const [erasure] = (await ask().then(() => findDueErasures(database.engine))).due
  await stopMails(
    { ...parts, database: { ...database, engine: engine as unknown as Database['engine'] } },
    erasure!,
  )
  expect(await found(erasure!.id)).toMatchObject({ cancelled: 1 })
  expect(lengths.slice(0, 2)).toEqual([1_000, 202])
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
  const step = stepErasure({ ...database, engine: cut as unknown as Database['engine'] }, id, hide)
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
  await accept(mailTo(['ann', 'bob']))
  await database.engine.query('DELETE FROM valija.deliveries')
  const hasSubject = async () =>
    (await database.engine.query("SELECT FROM valija.messages WHERE subject <> ''")).rowCount === 1
  await ask()
  await worker()()
  expect(await hasSubject()).toBe(true)
  await insertErasure(database, {
    id: nextId(),
    tenantId,
    emailKey: 'bob@example.org',
    placeholder: 'erased-1@erased.invalid',
  })
  await worker()()
  expect(await hasSubject()).toBe(false)
})

test('a mail that may have been delivered already stays as it is while it can be sent again', async () => {
  const [crashed, dotted, waiting] = [mailTo(['ann', 'bob']), mailTo(['ann', 'bob']), mailTo(['ann', 'bob'])]
  await accept(crashed!, dotted!, waiting!)
  const set = (what: string, { id }: NewMessage) =>
    database.engine.query(`UPDATE valija.deliveries SET ${what} WHERE message_id = $1`, [id])
  await set('crashes = 1', crashed!)
  await set('dot_epoch = 1', dotted!)
  const id = await ask()
  await worker()()
  for (const mail of [crashed!, dotted!]) expect(await textOf(mail.id)).toContain('Dear ann@')
  expect(await textOf(waiting!.id)).toContain(`Dear ${placeholder}`)
  expect(await found(id)).toMatchObject({ status: 'pending', cancelled: 3, bodies: 1 })
})

test('one that is asked for while another takes long is done in the same round', async () => {
  await sent(60)
  const long = await ask()
  let asked: Promise<Uuid> | undefined
  const engine = {
    query: (...query: Parameters<Database['engine']['query']>) => database.engine.query(...query),
    // Each step begins when that was committed.
    connect: () => Promise.resolve(asked).then(() => database.engine.connect()),
  }
  await erasureRounds({
    ...parts,
    database: { ...database, engine: engine as unknown as Database['engine'] },
    isStopped: () => {
      asked ??= ask('cara@example.org')
      return false
    },
    onError: (error) => expect.unreachable(error.message),
  })()
  const [ann, cara] = [await found(long), await found((await asked)!)]
  expect([ann, cara]).toMatchObject([{ status: 'done', recipients: 60 }, { status: 'done' }])
  expect(cara!.completedAt!.getTime()).toBeLessThan(ann!.completedAt!.getTime())
})

test('an erasure that fails keeps no other waiting, and is tried again after pauses that grow', async () => {
  const broken = mailTo(['ann', 'bob'], { body: Buffer.from('damaged') })
  await accept(broken)
  await database.engine.query('DELETE FROM valija.deliveries')
  const failing = await ask()
  const pauses: number[] = []
  const errors: Error[] = []
  for (const emailKey of ['cara@example.org', 'dan@example.org']) {
    await database.engine.query("UPDATE valija.erasures SET next_at = now() - interval '1 minute'")
    const other = await ask(emailKey)
    await worker((error) => void errors.push(error))()
    expect(await found(other)).toMatchObject({ status: 'done' })
    const { rows } = await database.engine.query(
      `SELECT extract(epoch FROM next_at - now())::float8 AS "inSeconds" FROM valija.erasures WHERE id = $1`,
      [failing],
    )
    pauses.push(Math.ceil(rows[0].inSeconds / 30))
  }
  expect(errors.map(({ cause }) => String(cause))).toEqual([
    expect.stringContaining('stored body'),
    expect.stringContaining('stored body'),
  ])
  expect(pauses).toEqual([1, 2])
  await database.engine.query('UPDATE valija.bodies SET content = $1', [mailTo(['ann']).body])
  await database.engine.query("UPDATE valija.erasures SET next_at = now() - interval '1 minute'")
  await worker()()
  expect(await found(failing)).toMatchObject({ status: 'done', bodies: 1 })
})

test('rows that workers have are not waited for, and those of other mails stay free meanwhile', async () => {
  const [held, free] = [mailTo(['ann', 'bob']), mailTo(['ann', 'bob'])]
  await accept(held!, free!)
  await ask()
  const holder = await database.engine.connect()
  await holder.query("BEGIN; SET LOCAL lock_timeout = '5s'")
  try {
    const { rowCount } = await holder.query(
      'SELECT FROM valija.deliveries WHERE message_id = $1 AND recipient_id = $2 FOR UPDATE',
      [held!.id, held!.recipients[1]!.id],
    )
    expect(rowCount).toBe(1)
    await database.engine.query('DELETE FROM valija.deliveries WHERE recipient_id = ANY ($1)', [
      [held!, free!].map(({ recipients }) => recipients[0]!.id),
    ])
    await worker()()
  } finally {
    await holder.query('ROLLBACK')
    holder.release()
  }
  expect(await textOf(held!.id)).toContain('Dear ann@')
  expect(await textOf(free!.id)).toContain(`Dear ${placeholder}`)
})
