/**
 * One question to several servers: the first good reply counts.
 *
 * The next server is asked when one fails, or has not replied for a while; those before it are still listened to, so a slow
 * answer is not lost to impatience. Who did not reply at all is asked a second time, by UDP and TCP. A server that keeps silent
 * comes last for a while, and one that only speaks TCP, or no EDNS, is remembered as such.
 */
import { randomInt } from 'node:crypto'
import { askByTcp, askByUdp, type Exchange, type ExchangeFault } from './exchange.ts'
import { refusalText } from './failure-text.ts'
import type { DnsServerAddress } from './server-list.ts'
import { encodeQuery, type Question, RCODE, type Reply, readReply } from './wire.ts'

export interface DnsServerState {
  readonly address: DnsServerAddress
  /** Until then (monotonic) others are asked first. */
  silentUntil: number
  tcpUntil: number
  plainUntil: number
}

export type Outcome =
  | { ok: true; reply: Reply; server: DnsServerState }
  | {
      ok: false
      /** One sentence for each server, in the order of asking. */
      why: readonly string[]
      /** One of them was not asked, for want of a socket of ours: nobody knows what it would have said. */
      isOwnWant: boolean
    }

/** How long a server's manners are remembered. */
const SILENT_MS = 30_000
const MANNERS_MS = 600_000

/** One server within one inquiry. */
interface Party {
  server: DnsServerState
  /** For people, who may be tenants: the operator's addresses are not for them. */
  name: string
  /** Exchanges under way. */
  open: number
  fault: Omit<ExchangeFault, 'ok'> | null
  askedAt: number
}

type Transport = 'udp' | 'tcp'

export function createServerStates(servers: readonly DnsServerAddress[]): DnsServerState[] {
  return servers.map((address) => ({ address, silentUntil: 0, tcpUntil: 0, plainUntil: 0 }))
}

export interface InquiryLimits {
  /** How long one server is waited for before the next is asked as well. */
  patienceMs: number
  /** After which nobody is waited for. */
  timeoutMs: number
}

/** Begins when it is made. */
export class Inquiry {
  readonly outcome: Promise<Outcome>
  private readonly question: Question
  private readonly limits: InquiryLimits
  private readonly resolve: (outcome: Outcome) => void
  private readonly parties: readonly Party[]
  /** Two rounds: each server once, then again all that never replied. */
  private readonly turns: Party[]
  private readonly exchanges = new Set<Exchange>()
  private readonly deadline: NodeJS.Timeout
  private patience: NodeJS.Timeout | undefined

  constructor(question: Question, servers: readonly DnsServerState[], limits: InquiryLimits) {
    const { promise, resolve } = Promise.withResolvers<Outcome>()
    this.outcome = promise
    this.resolve = resolve
    this.question = question
    this.limits = limits
    const now = performance.now()
    this.parties = servers
      .map((server, at) => ({ server, name: nameOf(at, servers.length), open: 0, fault: null, askedAt: 0 }))
      .sort((a, b) => Math.max(a.server.silentUntil, now) - Math.max(b.server.silentUntil, now))
    this.turns = [...this.parties, ...this.parties]
    this.deadline = setTimeout(() => this.giveUp(), limits.timeoutMs)
    this.askNext()
  }

  /** Ends it early, as `why`. */
  end(why: string): void {
    this.finish({ ok: false, why: [why], isOwnWant: false })
  }

  private finish(outcome: Outcome): void {
    clearTimeout(this.patience)
    clearTimeout(this.deadline)
    for (const exchange of this.exchanges) exchange.cancel()
    this.turns.length = 0
    this.resolve(outcome)
  }

  private giveUp(): void {
    const silence = `did not reply within ${Math.round(this.limits.timeoutMs / 100) / 10} s`
    const why = this.parties.map((party) => `${party.name} ${party.fault?.why ?? silence}`)
    this.finish({ ok: false, why, isOwnWant: this.parties.some(({ fault }) => fault?.isOwnWant) })
  }

  private askNext(): void {
    clearTimeout(this.patience)
    let party = this.turns.shift()
    while (party !== undefined && party.fault !== null) party = this.turns.shift()
    if (party === undefined) {
      if (this.parties.every((one) => one.open === 0)) this.giveUp()
      return
    }
    const isAgain = party.askedAt > 0
    party.askedAt ||= performance.now()
    const prefersTcp = party.server.tcpUntil > performance.now()
    if (isAgain || !prefersTcp) this.ask(party, 'udp')
    if (isAgain || prefersTcp) this.ask(party, 'tcp')
    this.patience = setTimeout(() => this.askNext(), this.limits.patienceMs)
  }

  private ask(party: Party, transport: Transport, isPlain = false): void {
    const hasEdns = !isPlain && party.server.plainUntil <= performance.now()
    const query = encodeQuery(this.question, randomInt(0x10000), hasEdns)
    const exchange = (transport === 'udp' ? askByUdp : askByTcp)(party.server.address, query, readReply)
    this.exchanges.add(exchange)
    party.open += 1
    void exchange.result.then((result) => {
      this.exchanges.delete(exchange)
      party.open -= 1
      if (result.ok) this.hear(party, transport, hasEdns, result.reply)
      else this.fault(party, result)
    })
  }

  private hear(party: Party, transport: Transport, hasEdns: boolean, reply: Reply): void {
    const isBeforeEdns = reply.rcode === RCODE.formErr || reply.rcode === RCODE.notImp
    if (reply.isTruncated && transport === 'udp') this.ask(party, 'tcp', !hasEdns)
    else if (hasEdns && isBeforeEdns) this.ask(party, transport, true)
    else if (isGood(reply)) this.succeed(party, transport, hasEdns, reply)
    else this.fault(party, { why: refusalText(reply) })
  }

  private succeed(party: Party, transport: Transport, hasEdns: boolean, reply: Reply): void {
    const { server } = party
    const now = performance.now()
    server.silentUntil = 0
    if (!hasEdns && server.plainUntil <= now) server.plainUntil = now + MANNERS_MS
    if (transport === 'tcp' && party.open > 0) server.tcpUntil = now + MANNERS_MS
    // A timer counts whole milliseconds: the one that had us ask this party may have fired up to one before its time.
    const askedBefore = now - this.limits.patienceMs + 1
    for (const other of this.parties) {
      const wasSilent = other !== party && other.open > 0 && other.askedAt <= askedBefore
      if (wasSilent) other.server.silentUntil = now + SILENT_MS
    }
    this.finish({ ok: true, reply, server })
  }

  /** One exchange failed; another one with the same server may still be under way. */
  private fault(party: Party, fault: NonNullable<Party['fault']>): void {
    if (party.open > 0) return
    party.fault = fault
    this.askNext()
  }
}

function isGood(reply: Reply): boolean {
  return (reply.rcode === RCODE.noError || reply.rcode === RCODE.nxDomain) && !reply.isReferral
}

/** As people are told, who may be tenants: the operator's addresses are not for them. */
export function nameOf(at: number, count: number): string {
  return count === 1 ? 'the resolver' : `resolver ${at + 1}`
}
