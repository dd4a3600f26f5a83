/** The way of a mail on a good day, with real processes, on every kind of queue. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { client } from './support/http.ts'
import {
  allEnded,
  countEach,
  inParallel,
  post,
  readAttempts,
  readEvents,
  untilEnded,
} from './support/message-life.ts'
import { type SmtpPeer, startSmtpPeer } from './support/smtp-peer.ts'
import { queueKinds, startValija, type Valija } from './support/valija.ts'

/** Enough for two workers to share, few enough to take some seconds. */
const MANY = 300

describe.each(queueKinds())('with the queue in $queue', ({ queue, isAbsent }) => {
  if (isAbsent) return test.skip('needs redis-server')
  let peer: SmtpPeer
  let valija: Valija

  beforeAll(async () => {
    peer = await startSmtpPeer()
    valija = await startValija({ apis: 2, workers: 0, queue, delivery: 'smarthost', smarthost: peer })
    await Promise.all(['one', 'two'].map((name) => valija.addWorker({ VALIJA_EHLO_NAME: `${name}.test` })))
  })
  afterAll(async () => {
    await valija?.stop()
    await peer?.stop()
  })

  test('an accepted mail reaches the peer byte by byte as GET /raw shows it, with events in order and its attempt on record', async () => {
    const text = `Grüße\n.\n..dots\n${'long '.repeat(300)}`
    const id = await post(valija.api, valija.mail({ subject: 'Größe', text, to: 'Ann <ann@example.org>' }))
    const [mail] = await peer.received(1)
    const message = await untilEnded(valija.api, id)

    expect(message).toMatchObject({
      status: 'delivered',
      recipients: [{ email: 'ann@example.org', status: 'delivered', attempts: 1, reason: null }],
    })
    expect(mail).toMatchObject({ to: ['ann@example.org'], from: 'hi@acme.test' })
    const raw = await fetch(new URL(`/messages/${id}/raw`, valija.url), {
      headers: { authorization: `Bearer ${valija.tenantKey}` },
    })
    expect(Buffer.from(await raw.arrayBuffer()).equals(mail!.raw)).toBe(true)
    expect(mail!.text).toContain(message.rfc_message_id)

    const events = await readEvents(valija.api, id)
    expect(events.map(({ type }) => type)).toEqual(['message.accepted', 'message.delivered'])
    expect(events[1]!.data.seq).toBeGreaterThan(events[0]!.data.seq)
    const [attempt] = await readAttempts(valija.api, id)
    expect(attempt).toMatchObject({ number: 1, outcome: 'delivered', phase: 'body', uncertain: false })
    expect(attempt!.recipient_ids).toEqual([message.recipients[0]!.id])
    const lines = attempt!.transcript.map(({ from, line }) => `${from} ${line}`).join('\n')
    for (const said of [
      'client MAIL FROM:<hi@acme.test>',
      'client RCPT TO:<ann@example.org>',
      'server 354',
    ]) {
      expect(lines).toContain(said)
    }
    expect(attempt!.transcript.at(-1)!.line).toMatch(/^250 2\.0\.0/)
  })

  test('two API and two worker processes share the work, and each mail arrives exactly once', async () => {
    const seen = peer.mails.length
    const calls = valija.urls.map((url) => client(url, valija.tenantKey))
    const ids = await inParallel(MANY, 24, (index) =>
      post(calls[index % calls.length]!, valija.mail({ to: `r${index}@example.org` })),
    )
    expect(new Set(ids).size).toBe(MANY)
    const mails = (await peer.received(seen + MANY, 40_000)).slice(seen)
    await allEnded(valija.api, ids)

    const counts = countEach(mails.flatMap((mail) => mail.to))
    expect(counts.size).toBe(MANY)
    expect(Math.max(...counts.values())).toBe(1)
    expect([...new Set(mails.map((mail) => mail.helo))].sort()).toEqual(['one.test', 'two.test'])
    const [left] = await valija.sql<{ count: number }>('SELECT count(*)::int AS count FROM valija.deliveries')
    expect(left).toEqual({ count: 0 })
    expect(peer.mails.length).toBe(seen + MANY)
  })
})
