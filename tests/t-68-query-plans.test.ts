/**
 * What the processes ask of a database with a long history: 1,000,000 mails of twenty days in the long form (`npm run soak -- query-plans`),
 * 20,000 with all other tests. Every statement of every process is looked at as it was sent (support/explained-database.ts):
 *
 *   - no statement reads a table of the way of a mail from one end to the other
 *   - what it touches does not grow with what is stored, unless it is a search; one by an end reads what ended so and nothing else
 *   - of the partitions it opens those of the days that it needs
 */
import { randomBytes } from 'node:crypto'
import { parseId } from '@valija/core'
import { findMessages, type MessageSearch, openDatabase } from '@valija/store'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  createExplainedDatabase,
  type Explained,
  type ExplainedDatabase,
  isSmallAndWhole,
  nodesOf,
  type PlanNode,
  rowsPerLoop,
  rowsTouched,
  tablesOpened,
} from './support/explained-database.ts'
import type { Answer } from './support/http.ts'
import { digestHistory, type History, unexplained, writeHistory } from './support/long-history.ts'
import { allEnded, inParallel, post } from './support/message-life.ts'
import { isLong, scaled, timeFor } from './support/scale.ts'
import { after, type SmtpPeer, startSmtpPeer } from './support/smtp-peer.ts'
import { until } from './support/until.ts'
import { expectStatus, startValija, type Valija } from './support/valija.ts'
import { startWebhookReceiver, type WebhookReceiver } from './support/webhook-receiver.ts'

const MESSAGES = scaled(1_000_000, 20_000)
/** A batch is at most some hundred rows, and each of them a few look-ups; the mails posted here are fewer than this. */
const ROWS_AT_MOST = 3_000
/** Tables of the way of a mail; the others are as large as what people manage. */
const LARGE =
  /^(?:messages|bodies|recipients|attempts|events|webhook_tries|deliveries|idempotency_keys|webhook_outbox|inbox|suppressions|mailbox_faults)(?:_\d{8})?$/

let explained: ExplainedDatabase
let history: History
let peer: SmtpPeer
let receiver: WebhookReceiver
let valija: Valija

/**
 * What may touch more, and why: searches of messages go on in looks, each of which takes at most 16,000 rows (packages/store/src/search-messages.ts), with
 * what belongs to them; the operator's view of the queue counts what waits.
 */
const searches =
  /fold\."sizeBytes"|FROM valija\.messages WHERE tenant_id = \$1 AND id >= \$2 AND id < \$3|message_id < \$5\s+ORDER BY id DESC|ORDER BY message_id DESC LIMIT|SELECT message_id AS id FROM valija\.deliveries|get_bit\(/
const SEARCH_ROWS_AT_MOST = 3 * 16_000
const countsOfTheQueue = /count\(\*\) FILTER \(WHERE state = 'waiting'\)/
/** Limits of the queue are held against a count of all that waits: from its index, or from the table where nearly all of it waits. */
const depthCount = /INSERT INTO valija\.queue_depth/
/** Statistics read each event once, some thousand in a commit, with what each of them belongs to. */
const countsOfEvents = /INSERT INTO valija\.stats_cursors/
/** Messages by how they ended, newest first: what it touches is what it gives, and the next of each day. */
const byEnd =
  /^SELECT message_id AS id FROM valija\.events\s+WHERE tenant_id = \$1 AND type = 'message\.(bounced|failed|suppressed|cancelled)'/
const daysOfAll = 50
/** Old statistics go by the quarter of an hour, in pieces of 5,000; a block index finds them, and a small table is read whole. */
const oldStatistics = /DELETE FROM valija\.stats/
/** That count; a replay looks for its beginning in the tenant's day. */
const reaches = /INSERT INTO valija\.queue_depth|UPDATE valija\.webhook_replays SET done_transaction/

/** Whether one of them says so. */
const isKnown = (text: string, ...known: RegExp[]) => known.some((pattern) => pattern.test(text))

/** By a piece of its text: statements that must have been seen, and how many days of a table they may open. */
const expected: [what: string, text: RegExp, days: number][] = [
  ['accept', /INSERT INTO valija\.messages/, 2],
  [
    'claim an idempotency key',
    /FROM unnest\(\$1::uuid\[\], \$2::text\[\]\) WITH ORDINALITY .*\s+JOIN valija\.idempotency_keys/,
    0,
  ],
  ['a stored answer', /FROM valija\.idempotency_keys\s+WHERE tenant_id = \$1/, 0],
  ['streams that wait', /WITH RECURSIVE tenant AS/, 0],
  ['count what is admitted', /SELECT FROM valija\.deliveries WHERE state = 'admitted' LIMIT/, 0],
  ['admit', /quota AS/, 0],
  ['lease', /ELSE 'leased' END, epoch/, 2],
  ['renew', /renewed AS/, 0],
  ['settle', /WITH input AS MATERIALIZED[^;]*INSERT INTO valija\.attempts/, 2],
  ['when the next is due', /END - clock_timestamp\(\)\) \* 1000/, 0],
  ['sweep lost hints', /state = 'admitted' AND admitted_at </, 0],
  ['sweep leases', /leased_until < now\(\) - interval '2 seconds'/, 0],
  ['claim webhooks', /WITH RECURSIVE\s+endpoint/, 3],
  ['settle webhooks', /INSERT INTO valija\.webhook_tries/, 2],
  ['claim a batch', /valija\.webhook_batch /, 0],
  ['which batches are ready', /AS "readyInMs"/, 0],
  ['replays that can go on', /FROM valija\.webhook_replays AS replay/, 0],
  ['a step of a replay', /UPDATE valija\.webhook_replays SET done_transaction/, 2],
  ['count what waits', /INSERT INTO valija\.queue_depth/, 0],
  ['repair leases', /leased_until > now\(\) \+ interval '30 seconds'/, 0],
  ['repair what was to go at once', /retry_steps = 0 AND due_at >/, 0],
  ['repair what endpoints are to be told', /ahead AS MATERIALIZED/, 0],
  ['a message', /FROM valija\.messages AS m WHERE m\.tenant_id = \$1 AND m\.id = \$2/, 1],
  ['its recipients', /FROM valija\.recipients AS r LEFT JOIN[^;]*ORDER BY r\.ordinal/, 2],
  ['the oldest due', /clock_timestamp\(\) - least\(/, 0],
  ['bodies that come with their lease', /SELECT m\.id, b\.content FROM/, 1],
  ['large bodies', /octet_length\(content\) AS "sizeBytes"/, 1],
  ['erase recipients', /UPDATE valija\.recipients SET email = \$2/, 21],
]

const day = 86_400_000
const someDays = { afterMs: Date.now() - 5 * day, beforeMs: Date.now() - 4 * day }

/** As they are asked for, and what the store makes of them: what much matches, what little and what nothing does, and some together. */
const filters: [query: string, search: MessageSearch][] = [
  ['to=u5@d5.test', { toKey: 'u5@d5.test' }],
  ['to=nobody@d7.test', { toKey: 'nobody@d7.test' }],
  ['from=hi@big.test', { fromKey: 'hi@big.test' }],
  ['from=no@big.test', { fromKey: 'no@big.test' }],
  ['subject=order', { subject: 'order' }],
  ['subject=Order+4711', { subject: 'Order 4711' }],
  ['subject=Receipt+1', { subject: 'Receipt 1' }],
  ['tag=tag5', { tag: 'tag5' }],
  ['tag=none', { tag: 'none' }],
  ['metadata.order=15', { metadata: { order: '15' } }],
  ['metadata.order=x', { metadata: { order: 'x' } }],
  ['status=delivered', { status: 'delivered' }],
  ['status=deferred', { status: 'deferred' }],
  ['status=bounced', { status: 'bounced' }],
  ['status=failed', { status: 'failed' }],
  ['status=suppressed', { status: 'suppressed' }],
  ['status=cancelled', { status: 'cancelled' }],
  ['status=scheduled', { status: 'scheduled' }],
  ['status=sending', { status: 'sending' }],
  ['status=partially_delivered', { status: 'partially_delivered' }],
  ['reason=mailbox_unknown', { reason: 'mailbox_unknown' }],
  ['reason=greylisted', { reason: 'greylisted' }],
  ['reason=spam', { reason: 'spam' }],
  ['domain=big.test', { domain: 'big.test' }],
  ['domain=small.test', { domain: 'small.test' }],
  ['stream=bulk', { stream: 'bulk' }],
  [
    `after=${new Date(someDays.afterMs).toISOString()}&before=${new Date(someDays.beforeMs).toISOString()}`,
    someDays,
  ],
  ['to=u5@d5.test&status=bounced', { toKey: 'u5@d5.test', status: 'bounced' }],
  ['to=copy@big.test', { toKey: 'copy@big.test' }],
  ['to=copy@big.test&status=failed', { toKey: 'copy@big.test', status: 'failed' }],
  ['reason=greylisted&status=failed', { reason: 'greylisted', status: 'failed' }],
  ['stream=bulk&status=suppressed', { stream: 'bulk', status: 'suppressed' }],
  ['tag=tag5&status=delivered', { tag: 'tag5', status: 'delivered' }],
  ['tag=tag1&reason=mailbox_unknown', { tag: 'tag1', reason: 'mailbox_unknown' }],
  ['subject=Order+15&tag=none', { subject: 'Order 15', tag: 'none' }],
  ['domain=big.test&stream=bulk&status=bounced', { domain: 'big.test', stream: 'bulk', status: 'bounced' }],
]

/** How many rows of a large table such a node reads that reads all of them. */
function rowsReadWhole(node: PlanNode): number {
  const isWhole = node['Node Type'] === 'Seq Scan' && LARGE.test(node['Relation Name'] ?? '')
  return isWhole && !isSmallAndWhole(node) ? rowsPerLoop(node) : 0
}

const kindOf = (text: string) => text.replaceAll(/\s+/g, ' ').slice(0, 160)

/** The worst of each statement, by a measure. */
function worst(measure: (explained: Explained) => number): Map<string, { value: number; text: string }> {
  const found = new Map<string, { value: number; text: string }>()
  for (const each of explained.explained) {
    const value = measure(each)
    if (value > (found.get(each.text)?.value ?? -1)) found.set(each.text, { value, text: each.text })
  }
  return found
}

const asBig = <T = Record<string, unknown>>(
  method: string,
  path: string,
  body?: unknown,
): Promise<Answer<T>> => valija.admin<T>(method, path, body, { 'valija-tenant': history.bigTenant })

/** Every page that a tenant's people and programs ask for, as the tenant with the longest history. */
async function readEverything(): Promise<void> {
  const { old, waiting, today } = history.messages
  for (const id of [old, waiting, today]) {
    for (const part of ['', '/events', '/attempts', '/explain']) {
      expectStatus(await asBig('GET', `/messages/${id}${part}`), 200)
    }
  }
  const pages = [
    '/messages',
    '/events',
    '/suppressions',
    '/inbox',
    '/webhooks',
    '/queue',
    '/metrics',
    '/readyz',
  ]
  for (const path of pages) expectStatus(await asBig('GET', path), 200)
  for (const [filter] of filters) expectStatus(await asBig('GET', `/messages?${filter}`), 200)
  for (const path of ['/messages', '/events', '/suppressions']) {
    let cursor = ''
    for (let page = 0; page < 3; page += 1) {
      const { json } = expectStatus(
        await asBig<{ next_cursor: string }>('GET', `${path}?limit=100${cursor && `&cursor=${cursor}`}`),
        200,
      )
      cursor = encodeURIComponent(json.next_cursor)
    }
  }
  const week = new Date(Date.now() - 7 * 86_400_000).toISOString()
  expectStatus(await asBig('GET', `/events?after=${week}&type=message.delivered`), 200)
}

/** Mails of a small tenant and of the big one, one of them held by its receiver until its lease was renewed. */
async function sendSome(): Promise<void> {
  const made = await valija.api<{ secret: string }>('POST', '/webhooks', { url: receiver.url, events: ['*'] })
  receiver.secret = expectStatus(made, 201).json.secret
  const held = post(valija.api, valija.mail({ to: 'held@example.org' }))
  const ids = await inParallel(30, 3, (index) =>
    post(
      valija.api,
      valija.mail({ to: `m${index}@example.org` }),
      index % 2 === 0 ? { 'idempotency-key': `k${index}` } : {},
    ),
  )
  expectStatus(
    await valija.api('POST', '/send', valija.mail({ to: 'm0@example.org' }), { 'idempotency-key': 'k0' }),
    202,
  )
  for (let index = 0; index < 10; index += 1) {
    const mail = valija.mail({ from: 'hi@big.test', to: `big${index}@example.org` })
    expectStatus(await asBig('POST', '/send', mail), 202)
  }
  // A body that does not come with its lease.
  const attachments = [{ filename: 'noise.bin', content: randomBytes(16 * 1024).toString('base64') }]
  await post(valija.api, valija.mail({ to: 'large@example.org', attachments }))
  // What is due later is the dispatcher's.
  const soon = new Date(Date.now() + 1_500).toISOString()
  await post(valija.api, valija.mail({ to: 'later@example.org', send_at: soon }))
  await post(
    valija.api,
    valija.mail({ to: Array.from({ length: 700 }, (_, index) => `many${index}@example.org`) }),
  )
  await allEnded(valija.api, [...ids, await held], 60_000)
  await until(
    'everything sent',
    async () => (await valija.sql(`SELECT FROM valija.deliveries WHERE domain = 'example.org'`)).length === 0,
    120_000,
  )
  await until('a webhook', () => receiver.calls.length > 0)
}

/** The data of somebody who was sent to on days far apart, with others as well, and of somebody for whom mail waits. */
async function eraseSome(): Promise<void> {
  for (const email of ['u3@d3.test', 'u2@d2.test']) {
    const asked = await asBig<{ id: string }>('POST', '/recipients/erase', { email })
    const { id } = expectStatus(asked, 202).json
    await until('the erasure is done', async () => {
      const { json } = await asBig<{ status: string }>('GET', `/erasures/${id}`)
      return json.status === 'done'
    })
  }
}

/** An endpoint that wants batches, and some minutes of an old day that are told again. */
async function tellAgain(): Promise<void> {
  const made = await asBig<{ id: string }>('POST', '/webhooks', {
    ...{ url: receiver.url, events: ['*'], batch: { max_events: 10, max_wait_ms: 200 } },
  })
  const fromMs = Date.now() - 5 * 86_400_000
  const range = {
    after: new Date(fromMs).toISOString(),
    before: new Date(fromMs + 600_000).toISOString(),
  }
  expectStatus(await asBig('POST', `/webhooks/${expectStatus(made, 201).json.id}/replay`, range), 202)
  expectStatus(
    await asBig('POST', '/send', valija.mail({ from: 'hi@big.test', to: 'told@example.org' })),
    202,
  )
  await until('a batch', () => receiver.calls.some(({ id }) => id.startsWith('whb_')))
  await until(
    'the end of the replay',
    async () => (await valija.sql('SELECT FROM valija.webhook_replays')).length === 0,
  )
}

beforeAll(async () => {
  explained = await createExplainedDatabase()
  history = await writeHistory(explained.directUrl, MESSAGES)
  await digestHistory(explained.directUrl)
  ;[peer, receiver] = [await startSmtpPeer(), await startWebhookReceiver()]
  peer.script = {
    body: ({ to }) => (to[0]?.startsWith('held') ? after(12_000, '250 2.0.0 taken') : undefined),
  }
  valija = await startValija({
    ...{ queue: 'postgres', delivery: 'smarthost', smarthost: peer },
    ...{ databaseUrl: explained.directUrl, databaseUrlFor: () => explained.url },
    env: { VALIJA_ALLOW_NETWORKS: '127.0.0.0/8' },
  })
  await sendSome()
  await tellAgain()
  await readEverything().catch((error) => {
    throw new Error([error.message, ...valija.apis.flatMap(({ lines }) => lines.slice(-3))].join('\n'))
  })
  await eraseSome()
}, timeFor(240_000))
afterAll(async () => {
  await valija?.stop()
  await receiver?.stop()
  await peer?.stop()
  await explained?.stop()
})

describe(`with ${MESSAGES} mails of twenty days`, () => {
  test.each(expected)('%s: its plan was seen', (_, text, days) => {
    const seen = explained.explained.filter((each) => text.test(each.text))
    expect(seen.length).toBeGreaterThan(0)
    const opened = seen.map(({ plan }) => {
      const parts = tablesOpened(plan).filter((table) => /_\d{8}$/.test(table))
      return Math.max(
        0,
        ...Map.groupBy(parts, (table) => table.replace(/_\d{8}$/, ''))
          .values()
          .map(({ length }) => length),
      )
    })
    expect(Math.max(...opened)).toBeLessThanOrEqual(days)
  })

  test('no statement reads a large table from one end to the other', () => {
    const whole = worst(({ plan }) => Math.max(0, ...nodesOf(plan).map(rowsReadWhole)))
    const bad = [...whole.values()].filter(
      ({ value, text }) => value > 0 && !isKnown(text, countsOfTheQueue, depthCount),
    )
    expect(bad.map(({ value, text }) => `${value} rows: ${kindOf(text)}`)).toEqual([])
  })

  test(`no statement but a search touches more than ${ROWS_AT_MOST} rows`, () => {
    const touched = [...worst(({ plan }) => rowsTouched(plan)).values()]
    const bad = touched.filter(
      ({ value, text }) =>
        value > ROWS_AT_MOST &&
        !isKnown(text, searches, countsOfTheQueue, countsOfEvents, oldStatistics, reaches),
    )
    expect(bad.map(({ value, text }) => `${value} rows: ${kindOf(text)}`)).toEqual([])
  })

  test(`no look of a search touches more than ${SEARCH_ROWS_AT_MOST} rows`, () => {
    const touched = [...worst(({ plan }) => rowsTouched(plan)).values()].filter(({ text }) =>
      searches.test(text),
    )
    expect(touched.length).toBeGreaterThan(5)
    const bad = touched.filter(({ value }) => value > SEARCH_ROWS_AT_MOST)
    expect(bad.map(({ value, text }) => `${value} rows: ${kindOf(text)}`)).toEqual([])
  })

  test('a search by how messages ended touches those that did and no others', () => {
    const seen = explained.explained.filter(({ text }) => byEnd.test(text))
    const kinds = new Set(seen.map(({ text }) => byEnd.exec(text)?.[1]))
    expect([...kinds].toSorted()).toEqual(['bounced', 'cancelled', 'failed', 'suppressed'])
    const bad = seen.filter(({ plan }) => rowsTouched(plan) > (plan['Actual Rows'] ?? 0) + daysOfAll)
    expect(bad.map(({ text, plan }) => `${rowsTouched(plan)} rows: ${kindOf(text)}`)).toEqual([])
    // Half of the mails wait, with a reason, and hundreds bounced: nothing of that has failed. A day that has just begun may be read whole.
    const failed = seen.filter(({ text }) => text.includes("'message.failed'"))
    expect(Math.max(...failed.map(({ plan }) => rowsTouched(plan)))).toBeLessThanOrEqual(daysOfAll)
  })

  // A promise about time: in the long form, alone on the machine.
  if (isLong) {
    test('every filter and the usual combinations are answered in under 100 ms', async () => {
      const database = openDatabase({ url: unexplained(explained.directUrl), onError: () => undefined })
      const tenants = await valija.sql<{ id: string }>('SELECT id FROM valija.tenants ORDER BY id LIMIT 2')
      expect(tenants[0]?.id).toBe(parseId('tenant', history.bigTenant))
      const measured: { query: string; medianMs: number; worstMs: number }[] = []
      for (const [query, search] of filters) {
        for (const { id } of tenants) {
          const times: number[] = []
          for (let run = 0; run < 9; run += 1) {
            const began = performance.now()
            await findMessages(database, id, search, { before: null, limit: 25 })
            times.push(performance.now() - began)
          }
          times.sort((one, other) => one - other)
          measured.push({ query, medianMs: times[4] ?? 0, worstMs: times[8] ?? 0 })
        }
      }
      await database.close()
      const lines = measured.map(
        ({ query, medianMs, worstMs }) => `${query}: ${medianMs.toFixed(1)} (${worstMs.toFixed(1)}) ms`,
      )
      process.stderr.write(`${lines.join('\n')}\n`)
      expect(measured.filter(({ medianMs }) => medianMs > 100)).toEqual([])
    })
  }
})
