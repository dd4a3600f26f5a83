/**
 * POST /send/batch at real processes: all or nothing in one mode, what can be in the other; files arrive; and a batch that is sent
 * again, or to two API processes at once, is one set of mails. The long form: how long a thousand take.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Answer, client } from './support/http.ts'
import { type AcceptedMail, endOfMail, type ProblemBody } from './support/messages.ts'
import { isLong, timeFor } from './support/scale.ts'
import { type SmtpPeer, startSmtpPeer } from './support/smtp-peer.ts'
import { PATIENCE_MS, until } from './support/until.ts'
import { expectStatus, startValija, type Valija } from './support/valija.ts'

type Accepted = { data: AcceptedMail[] }
type Results = { data: { status: number; message?: AcceptedMail; problem?: ProblemBody }[] }

let peer: SmtpPeer
let valija: Valija

beforeAll(async () => {
  peer = await startSmtpPeer()
  valija = await startValija({ apis: 2, queue: 'postgres', delivery: 'smarthost', smarthost: peer })
})
afterAll(async () => {
  await valija?.stop()
  await peer?.stop()
})

const countMessages = async () =>
  (await valija.sql<{ count: number }>('SELECT count(*)::int AS count FROM valija.messages'))[0]!.count

const attachment = (i: number) => ({
  filename: `invoice-${i}.pdf`,
  content: Buffer.from(`%PDF ${i} `.repeat(640)).toString('base64'),
})
const mails = (count: number, name: string, more: (i: number) => object = () => ({})) =>
  Array.from({ length: count }, (_, i) =>
    valija.mail({ to: `${name}${i}@example.org`, subject: `${name} ${i}`, ...more(i) }),
  )
const idOf = (entry: AcceptedMail | Results['data'][number]) => ('id' in entry ? entry.id : entry.message!.id)
const arrived = (name: string) => peer.mails.filter(({ to }) => to[0]!.startsWith(name))

test('strict: every mail arrives with its file, or none is kept and every fault is named', async () => {
  const messages = mails(40, 'strict', (i) => ({ attachments: [attachment(i)] }))
  const faulty = messages.map((mail, i) => (i % 20 === 3 ? { ...mail, to: 'nobody' } : mail))
  const refused = await valija.api<ProblemBody>('POST', '/send/batch', { messages: faulty })
  expectStatus(refused, 400)
  expect(refused.json.errors?.map(({ path }) => path)).toEqual(['/messages/3/to', '/messages/23/to'])
  expect(await countMessages()).toBe(0)

  const { json } = expectStatus(await valija.api<Accepted>('POST', '/send/batch', { messages }), 202)
  expect(json.data.map(({ recipients }) => recipients[0]!.email)).toEqual(messages.map(({ to }) => to))
  for (const { id } of json.data) expect((await endOfMail(valija.api, id)).status).toBe('delivered')
  expect(arrived('strict')).toHaveLength(40)
  for (const { to, text } of arrived('strict')) {
    const i = Number(/\d+/.exec(to[0]!)![0])
    expect(text).toContain(`filename=invoice-${i}.pdf`)
    expect(text.replaceAll('\r\n', '')).toContain(attachment(i).content)
  }
})

// In the long form alone: a time that other tests beside it would spoil.
if (isLong)
  test(
    'a thousand mails of 10 KB, each with a file of 5 KB, have their 202 in under 2 s at the best of five',
    async () => {
      const took: number[] = []
      for (const round of ['first', 'second', 'third', 'fourth', 'fifth']) {
        const html = `<p>${'A line of a receipt, as they come. '.repeat(285)}</p>`
        const messages = mails(1_000, round, (i) => ({ html, attachments: [attachment(i)] }))
        const began = performance.now()
        const { json } = expectStatus(await valija.api<Accepted>('POST', '/send/batch', { messages }), 202)
        took.push(Math.round(performance.now() - began))
        expect(json.data).toHaveLength(1_000)
        await until('all of it arrives', () => arrived(round).length === 1_000, 300_000)
      }
      expect(Math.min(...took), `took ${took.join(', ')} ms`).toBeLessThan(2_000)
    },
    timeFor(60_000),
  )

test('permissive: the others arrive, and each has its answer in its place', async () => {
  const messages = mails(4, 'loose', (i) =>
    i === 1 ? { from: 'hi@not-ours.test' } : i === 2 ? { text: 7 } : {},
  )
  const answer = await valija.api<Results>('POST', '/send/batch?mode=permissive', { messages })
  const { data } = expectStatus(answer, 200).json
  expect(data.map(({ status }) => status)).toEqual([202, 403, 400, 202])
  for (const { message } of [data[0]!, data[3]!])
    expect((await endOfMail(valija.api, message!.id)).status).toBe('delivered')
  expect(
    arrived('loose')
      .map(({ to }) => to[0])
      .sort(),
  ).toEqual(['loose0@example.org', 'loose3@example.org'])
})

/** A batch that has waited for another one with its keys for two seconds is told to come again: of a whole, or of an entry. */
function isInProgress({ status, json }: Answer<Accepted | Results>): boolean {
  const problems = status === 409 ? [json as unknown as ProblemBody] : []
  for (const entry of json.data ?? []) if ('problem' in entry && entry.problem) problems.push(entry.problem)
  return problems.some(({ code }) => code === 'idempotency_in_progress')
}

/** Repeats it as a client does. */
async function untilDone<T extends Accepted | Results>(ask: () => Promise<Answer<T>>): Promise<Answer<T>> {
  for (const endMs = performance.now() + PATIENCE_MS; ; ) {
    const answer = await ask()
    if (!isInProgress(answer) || performance.now() > endMs) return answer
    await delay(1_000 * Number(answer.headers.get('retry-after') ?? 1))
  }
}

test('100 messages with their keys, at two API processes at once and once more: one set, one answer', async () => {
  const messages = mails(100, 'once', (i) => ({ idempotency_key: `once-${i}` }))
  const before = await countMessages()
  const post = (url: string | undefined, mode: string) =>
    untilDone(() =>
      client(url!, valija.tenantKey)<Accepted | Results>('POST', `/send/batch?mode=${mode}`, { messages }),
    )
  const [first, second] = valija.urls
  const answers = await Promise.all(
    [first, second, first, second].flatMap((url) => [post(url, 'strict'), post(url, 'permissive')]),
  )
  const late = await post(second, 'strict')
  expect(late.headers.get('idempotency-replayed')).toBe('true')
  const sets = [...answers, late].map(({ status, json, text }) => {
    expect([200, 202], text).toContain(status)
    return json.data.map(idOf).join()
  })
  expect(new Set(sets).size).toBe(1)
  expect(await countMessages()).toBe(before + 100)
  for (const entry of late.json.data) await endOfMail(valija.api, idOf(entry))
  expect(new Set(arrived('once').map(({ to }) => to[0])).size).toBe(100)
  expect(arrived('once')).toHaveLength(100)
})
