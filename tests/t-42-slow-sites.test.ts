/**
 * Sites that hold us up cost the others nothing: some drip a byte at a time, as many say nothing at all.
 *
 * The same mails go to the good sites with all sites well and with those bad, in turns, and neighbouring rounds are compared:
 * what else this machine does, it does to both of them. While the rounds do not agree there are more of them.
 *
 * The short form has two bad sites among ten, the long one (`npm run soak -- slow-sites`) four among forty, on both queues.
 * A round with bad ones begins when mails have been waiting for those, thrice as many as for others: sites are bad for hours.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Internet, startInternet } from './support/internet.ts'
import { post } from './support/message-life.ts'
import { isLong, timeFor } from './support/scale.ts'
import { after, drip, type Script, type SmtpPeer, silence } from './support/smtp-peer.ts'
import { until } from './support/until.ts'
import { queueBackends, startValija, type Valija } from './support/valija.ts'

const [siteCount, badCount] = isLong ? [40, 4] : [10, 2]
const mailsPerSite = isLong ? 100 : 50
/** Pairs of a round with all well and one with bad ones: as many at least, and while undecided as many at most. */
const pairs = { least: 3, most: 9 }
/** Of the worker's sockets and leases, which are 100 and 400, a fifth. */
const mostStuck = { sockets: 20, leases: 80 }
const names = Array.from({ length: siteCount }, (_, i) => `site${i}.test`)
const [goodNames, badNames] = [names.slice(0, -badCount), names.slice(-badCount)]
/** Long enough for sessions and places to be what bounds the rate, and not this machine's cores. */
const usual: Script = { body: after(400, '250 2.0.0 ok') }
/** Greets and goes on, and answers the mail itself one byte in five seconds. */
const tarpit: Script = { body: drip(5_000, '250 2.0.0 ok') }
const silent: Script = { connect: silence() }

let internet: Internet
let valija: Valija
let good: SmtpPeer[]
let bad: SmtpPeer[]

type Round = {
  /** Until each of the good sites had all of its mails. */
  ms: number
  /** From the acceptance until a mail to a good site was delivered: of a hundred, the last but one. */
  p99Ms: number
  /** When the good sites together had three quarters of their mails: what the last of them had, of the mean. 1: all go alike. */
  lastOfMean: number
  /** Held by the bad sites at the end, and still a moment later. */
  stuckLeases: number
  stuckSockets: number
}

const mostRecipients = 1_000

/** Messages of as many recipients as one may have: what is compared is how they are delivered, not how they were posted. */
async function postTo(domains: readonly string[], mailsPerDomain: number): Promise<string[]> {
  const to = Array.from({ length: mailsPerDomain }, () => domains)
    .flat()
    .map((domain, i) => `r${i}@${domain}`)
  const ids: string[] = []
  for (let at = 0; at < to.length; at += mostRecipients) {
    ids.push(await post(valija.api, valija.mail({ to: to.slice(at, at + mostRecipients) })))
  }
  return ids
}

async function sendToAll(): Promise<Round> {
  for (const site of good) site.mails.length = 0
  const startedAt = performance.now()
  const ids = await postTo(names, mailsPerSite)
  let lastOfMean = 0
  const taken = () => good.map((site) => site.mails.length)
  await until(
    'the mails of the good sites',
    () => {
      const counts = taken()
      const mean = counts.reduce((sum, count) => sum + count, 0) / counts.length
      if (lastOfMean === 0 && mean >= 0.75 * mailsPerSite) lastOfMean = Math.min(...counts) / mean
      return counts.every((count) => count >= mailsPerSite)
    },
    120_000,
  )
  const ms = performance.now() - startedAt
  expect(taken()).toEqual(good.map(() => mailsPerSite))
  const stuckSockets = bad.reduce((sum, site) => sum + site.open(), 0)
  const held = await heldByBad()
  await until('their ends', async () => (await left(goodNames)) === 0, 60_000)
  // What is on its way out of the worker's hands is not stuck.
  await delay(500)
  const stuckLeases = held.intersection(await heldByBad()).size
  return { ms, p99Ms: await p99Of(ids), lastOfMean, stuckLeases, stuckSockets }
}

const count = async (condition: string, domains: string[]): Promise<number> => {
  const [row] = await valija.sql<{ count: number }>(
    `SELECT count(*)::int AS count FROM valija.deliveries AS d JOIN valija.recipients AS r ON r.id = d.recipient_id
     WHERE r.domain = ANY ($1) AND ${condition}`,
    [domains],
  )
  return row?.count ?? 0
}
const left = (domains: string[]) => count('true', domains)

/** Leases of mails to bad sites. */
async function heldByBad(): Promise<Set<string>> {
  const rows = await valija.sql<{ lease: string }>(
    `SELECT recipient_id || ' ' || epoch AS lease FROM valija.deliveries WHERE state = 'leased' AND domain = ANY ($1)`,
    [badNames],
  )
  return new Set(rows.map(({ lease }) => lease))
}

async function p99Of(ids: readonly string[]): Promise<number> {
  const [row] = await valija.sql<{ ms: number }>(
    `SELECT percentile_disc(0.99) WITHIN GROUP (ORDER BY extract(epoch FROM r.delivered_at - m.created_at) * 1000)::float8 AS ms
     FROM valija.recipients AS r JOIN valija.messages AS m ON m.id = r.message_id
     WHERE m.id = ANY ($1) AND r.domain = ANY ($2)`,
    [ids.map((id) => id.slice('msg_'.length)), goodNames],
  )
  return row?.ms ?? Number.NaN
}

const median = (values: number[]) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!

/** Every mail of the round before has its end; no session is busy, and none is left at those that will be bad. */
async function cleanSheet(): Promise<void> {
  for (const site of bad) {
    site.script = {}
    site.cut()
  }
  const isEmpty = async () => {
    // The worker brings them again by itself, but not so soon.
    await valija.sql(
      `UPDATE valija.deliveries SET due_at = now() WHERE state = 'waiting' AND due_at > now()`,
      [],
    )
    return (await left(names)) === 0
  }
  await until('an empty queue', isEmpty, 120_000)
  for (const site of bad) site.cut()
}

let areBad = false

async function allWell(): Promise<Round> {
  if (areBad) await cleanSheet()
  areBad = false
  for (const site of bad) site.script = usual
  return sendToAll()
}

async function someBad(): Promise<Round> {
  if (!areBad) await beginBeingBad()
  return sendToAll()
}

async function turnBad(): Promise<void> {
  await cleanSheet()
  areBad = true
  for (const [i, site] of bad.entries()) site.script = i < badCount / 2 ? tarpit : silent
}

/** Nobody knows them as bad when their mails come, as many as for any other. */
async function someTurnBad(): Promise<Round> {
  await turnBad()
  return sendToAll()
}

async function beginBeingBad(): Promise<void> {
  await turnBad()
  await postTo(badNames, 3 * mailsPerSite)
  const inHandOrDue = () => count(`(d.state <> 'waiting' OR d.due_at <= now())`, badNames)
  await until(
    'the mail of bad sites to go out of the way',
    async () => (await inHandOrDue()) <= mostStuck.leases,
  )
}

/** Every other pair begins with the bad one, which finds the sites as the one before has left them. */
async function pairOf(number: number): Promise<{ well: Round; bad: Round }> {
  if (number % 2 === 0) return { well: await allWell(), bad: await someBad() }
  const ofBad = await someBad()
  return { well: await allWell(), bad: ofBad }
}

const backends = isLong ? queueBackends() : queueBackends().slice(0, 1)

describe.each(backends)('with the queue in $queue', ({ queue, isAbsent }) => {
  beforeAll(async () => {
    if (isAbsent) return
    internet = await startInternet()
    good = []
    bad = []
    areBad = false
    for (const name of goodNames) good.push(await internet.site(name, { script: usual }))
    for (const name of badNames) bad.push(await internet.site(name, { script: usual }))
    valija = await startValija({ queue, delivery: 'mx', internet, env: { VALIJA_RETRY_SCHEDULE: '1s' } })
  })
  afterAll(async () => {
    await valija?.stop()
    await internet?.stop()
  })

  test.skipIf(isAbsent)(
    'tarpits and silent sites: the others keep 90 % of their rate and twice their p99, and most sockets and leases',
    { timeout: timeFor(600_000) },
    async () => {
      await sendToAll()
      const rounds: { well: Round; bad: Round }[] = []
      const rate = () => median(rounds.map((round) => round.well.ms / round.bad.ms))
      const lateness = () => median(rounds.map((round) => round.bad.p99Ms / round.well.p99Ms))
      const inBad = (what: 'stuckLeases' | 'stuckSockets') => median(rounds.map((round) => round.bad[what]))
      const faults = () => [
        ...(rate() >= 0.9 ? [] : [`rate ${rate()}`]),
        ...(lateness() <= 2 ? [] : [`p99 ${lateness()}`]),
        ...(isEven(rounds) ? [] : ['not even']),
        ...(inBad('stuckLeases') <= mostStuck.leases ? [] : [`stuck leases ${inBad('stuckLeases')}`]),
        ...(inBad('stuckSockets') <= mostStuck.sockets ? [] : [`stuck sockets ${inBad('stuckSockets')}`]),
      ]
      while (rounds.length < pairs.least || (rounds.length < pairs.most && faults().length > 0)) {
        const round = await pairOf(rounds.length)
        rounds.push(round)
        process.stdout.write(`${queue}: ${describeRound(round)}\n`)
      }
      expect(faults()).toEqual([])
    },
  )

  test.skipIf(isAbsent)(
    'sites that turn bad with mail for all on its way: the others keep 90 % of their rate',
    { timeout: timeFor(600_000) },
    async () => {
      await allWell()
      const rounds: { well: Round; bad: Round }[] = []
      const rate = () => median(rounds.map((round) => round.well.ms / round.bad.ms))
      const isDecided = () => rate() >= 0.9 && isEven(rounds)
      while (rounds.length < pairs.least || (rounds.length < pairs.most && !isDecided())) {
        const round = { well: await allWell(), bad: await someTurnBad() }
        rounds.push(round)
        process.stdout.write(`${queue}, turned bad: ${describeRound(round)}\n`)
      }
      expect(rate()).toBeGreaterThanOrEqual(0.9)
      expect(isEven(rounds)).toBe(true)
    },
  )
})

/**
 * They share what the bad ones leave: 0.24 was measured, each time, when whoever came first kept all its sessions. A single round on
 * a machine with all its cores at work was seen at 0.51.
 *
 * Of three rounds none may be below 0.4, of more one in all: a round that something else on this machine spoiled is made up for by
 * further ones, as it is with the medians. The uneven product was so in each of them.
 */
const isEven = (rounds: { bad: Round }[]) => {
  const shares = rounds.map(({ bad }) => bad.lastOfMean)
  const low = shares.filter((share) => share < 0.4)
  return median(shares) >= 0.6 && low.length <= (shares.length > 3 ? 1 : 0)
}

function describeRound({ well, bad }: { well: Round; bad: Round }): string {
  const rate = `rate ${(well.ms / bad.ms).toFixed(2)} (${well.ms.toFixed(0)} against ${bad.ms.toFixed(0)} ms)`
  const p99 = `p99 ${(bad.p99Ms / well.p99Ms).toFixed(2)} (${well.p99Ms.toFixed(0)} against ${bad.p99Ms.toFixed(0)} ms)`
  return `${rate}, ${p99}, last of mean ${bad.lastOfMean.toFixed(2)}, stuck: ${bad.stuckLeases} leases, ${bad.stuckSockets} sockets`
}
