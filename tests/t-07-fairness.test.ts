/** A tenant with a large backlog delays nobody's one-time code, neither another tenant's nor its own. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { inParallel, post } from './support/message-life.ts'
import { after, type SmtpPeer, startSmtpPeer } from './support/smtp-peer.ts'
import { until } from './support/until.ts'
import { startValija, type Valija } from './support/valija.ts'

/** Twenty connections and 120 ms for each mail: the backlog takes at least 24 s. */
const BACKLOG = 4_000
const PER_MESSAGE = 200
const SLOW_MS = 120
/** Hints that are given already (128 rows, and one message beyond a tenant's direct share), and the leases that must end first. */
const AHEAD_AT_MOST = 600

let peer: SmtpPeer
let valija: Valija

beforeAll(async () => {
  peer = await startSmtpPeer({ script: { body: () => after(SLOW_MS, '250 2.0.0 taken') } })
  valija = await startValija({ queue: 'postgres', delivery: 'smarthost', smarthost: peer })
})
afterAll(async () => {
  await valija?.stop()
  await peer?.stop()
})

test("4,000 bulk mails of one tenant do not delay another tenant's code, nor its own", async () => {
  const quiet = await valija.addTenant('quiet', 'quiet.test')
  await inParallel(BACKLOG / PER_MESSAGE, 4, (message) => {
    const to = Array.from({ length: PER_MESSAGE }, (_, index) => `m${message}r${index}@list.test`)
    return post(valija.api, valija.mail({ to, stream: 'bulk' }))
  })
  await peer.received(100)

  /** How many mails of the backlog the peer took between the post and the code's arrival, and the seconds it took. */
  const measure = async (send: () => Promise<string>, address: string) => {
    const startedAtMs = performance.now()
    const before = peer.mails.length
    await send()
    const place = await until(
      `${address} at the peer`,
      () => peer.mails.findIndex(({ to }) => to[0] === address) + 1 || null,
      60_000,
    )
    return { overtakenBy: place - 1 - before, seconds: (performance.now() - startedAtMs) / 1_000 }
  }
  const [theirs, own] = await Promise.all([
    measure(
      () => post(quiet.call, { from: 'hi@quiet.test', to: 'code@quiet.test', subject: 'Code', text: '123' }),
      'code@quiet.test',
    ),
    measure(() => post(valija.api, valija.mail({ to: 'code@acme.test' })), 'code@acme.test'),
  ])
  // A first-in-first-out queue would have put nearly all 4,000 before them.
  for (const { overtakenBy, seconds } of [theirs, own]) {
    expect(overtakenBy).toBeLessThan(AHEAD_AT_MOST)
    expect(seconds).toBeLessThan(5)
  }
  expect(peer.mails.length).toBeLessThan(BACKLOG)
}, 120_000)
