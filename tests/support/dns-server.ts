/**
 * A small real DNS server on 127.0.0.1, over UDP and TCP: what a recursive resolver would answer, on good days and bad ones.
 *
 *     const dns = await startDnsServer({ records: { 'example.test': { MX: ['10 mx.example.test'] }, 'mx.example.test': { A: ['127.0.0.1'] } } })
 *     // VALIJA_DNS_SERVERS: dns.address
 *     dns.set('example.test', 'MX', ['0 .'])                        // from the next question on
 *     dns.behaviour = { 'broken.test': 'servfail', 'slow.test MX': { delayMs: 5_000 }, '*': 'silent' }
 *     dns.signed.add('example.test')                                // AD for it and all below, as a validating resolver does
 *     dns.count('example.test', 'MX')                               // questions so far
 *
 * A name without records, and without any below it, is NXDOMAIN. What does not fit the asker's UDP size comes with TC, and
 * whole by TCP.
 */
import dgram from 'node:dgram'
import { once } from 'node:events'
import net from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import dnsPacket, { type Answer, type DecodedPacket } from 'dns-packet'
import { type Zone, ZoneBook, type ZoneType, zoneName } from './dns-zone.ts'
import { freePort } from './ports.ts'
import { PATIENCE_MS, until } from './until.ts'

export type { Zone, ZoneType } from './dns-zone.ts'

export type DnsBehaviour =
  /** What the zone says. */
  | 'normal'
  | 'servfail'
  | 'refused'
  | 'formerr'
  | 'nxdomain'
  /** FORMERR to every question that has an OPT record, as servers from before EDNS. */
  | 'no_edns'
  | 'silent'
  /** TC by UDP, the answer by TCP. */
  | 'truncated'
  /** UDP is never answered. */
  | 'tcp_only'
  /** By TCP the connection is cut at the question; by UDP as usual. */
  | 'tcp_cut'
  /** Random bytes under the right id. */
  | 'garbage'
  /** A good answer under another id. */
  | 'wrong_id'
  /** A good answer to another question. */
  | 'wrong_question'
  | { delayMs: number; held?: Promise<unknown> }
  /** These octets, after the id. */
  | { bytes: Buffer }

export type DnsQuestion = { name: string; type: string; transport: 'udp' | 'tcp' }

export type DnsServerOptions = {
  records?: Zone
  /** By `name`, `name TYPE` or `*`; the most exact one holds. */
  behaviour?: Record<string, DnsBehaviour>
  /** Names for which, and for all below which, AD is set; `.` for everything. */
  signed?: readonly string[]
  /** TTL of records that are given none. */
  ttl?: number
  /** SOA minimum of negative answers (RFC 2308); null: no SOA. */
  negativeTtl?: number | null
  /** Aliases are answered without their targets, as some forwarders do. */
  onlyFirstAlias?: boolean
  /** Called with each question before it is answered: what it sets holds for this answer. */
  onQuestion?: (question: DnsQuestion) => void
  port?: number
}

export type DnsServer = {
  host: string
  port: number
  /** `ip:port`, as VALIJA_DNS_SERVERS takes it. */
  address: string
  /** What was last given as a whole; setting it replaces everything. */
  zone: Zone
  set: (
    name: string,
    type: ZoneType,
    records: readonly string[] | readonly (readonly string[])[],
    ttl?: number,
  ) => void
  /** Without a type, the whole name. */
  remove: (name: string, type?: ZoneType) => void
  behaviour: Record<string, DnsBehaviour>
  signed: Set<string>
  /** Every question that arrived, also those that were not answered. */
  questions: DnsQuestion[]
  count: (name?: string, type?: string, transport?: 'udp' | 'tcp') => number
  /** Resolves when the name has been asked for at least so often. */
  asked: (name: string, type?: string, count?: number, timeoutMs?: number) => Promise<void>
  stop: () => Promise<void>
}

/** At most so many aliases are followed, as a resolver would; a loop ends here. */
const MAX_ALIASES = 16

const RCODE = { servfail: 2, formerr: 1, no_edns: 1, nxdomain: 3, refused: 5 } as const

/** An asker without EDNS takes so much by UDP (RFC 1035 §2.3.4). */
const PLAIN_UDP_BYTES = 512

class Answerer {
  readonly book: ZoneBook
  readonly questions: DnsQuestion[] = []
  behaviour: Record<string, DnsBehaviour>
  readonly signed: Set<string>
  private readonly negativeTtl: number | null
  private readonly maxAliases: number
  private readonly onQuestion: (question: DnsQuestion) => void

  constructor(options: DnsServerOptions) {
    this.book = new ZoneBook(options.records ?? {}, options.ttl ?? 60)
    this.behaviour = options.behaviour ?? {}
    this.signed = new Set((options.signed ?? []).map(zoneName))
    this.onQuestion = options.onQuestion ?? (() => undefined)
    this.maxAliases = options.onlyFirstAlias ? 1 : MAX_ALIASES
    this.negativeTtl = options.negativeTtl === undefined ? 60 : options.negativeTtl
  }

  /** The bytes to send back, `cut` for a TCP connection to be cut, or null for silence. */
  async answer(bytes: Buffer, transport: 'udp' | 'tcp'): Promise<Buffer | 'cut' | null> {
    const query = decode(bytes)
    const question = query?.questions?.[0]
    if (query === null || question === undefined) return null
    const name = zoneName(question.name)
    const asked = { name, type: question.type, transport }
    this.questions.push(asked)
    this.onQuestion(asked)
    const act = this.behaviourOf(name, question.type)
    if (act === 'silent' || (act === 'tcp_only' && transport === 'udp')) return null
    if (act === 'tcp_cut' && transport === 'tcp') return 'cut'
    if (act === 'garbage') return Buffer.concat([bytes.subarray(0, 2), randomBytes()])
    if (typeof act === 'object' && 'bytes' in act) return Buffer.concat([bytes.subarray(0, 2), act.bytes])
    if (typeof act === 'object') await Promise.all([delay(act.delayMs), act.held])
    return this.encode(query, act, transport)
  }

  private behaviourOf(name: string, type: string): DnsBehaviour {
    return (
      this.behaviour[`${name} ${type}`] ?? this.behaviour[name] ?? this.behaviour['*'] ?? ('normal' as const)
    )
  }

  private encode(query: DecodedPacket, act: DnsBehaviour, transport: 'udp' | 'tcp'): Buffer {
    const question = query.questions?.[0] ?? { name: '.', type: 'A' as const }
    const opt = (query.additionals ?? []).find((record) => record.type === 'OPT')
    const isRefusal = typeof act === 'string' && act in RCODE && (act !== 'no_edns' || opt !== undefined)
    const found = isRefusal ? null : this.book.look(question.name, question.type, this.maxAliases)
    const rcode = found === null ? RCODE[act as keyof typeof RCODE] : found.isUnknownName ? 3 : 0
    const isNegative = rcode === 3 || (rcode === 0 && !found?.answers.some((r) => r.type === question.type))
    const wantsAd = query.flag_ad || (opt?.type === 'OPT' && opt.flag_do)
    const isSigned = found?.names.every((name) => this.isSigned(name)) ?? false
    const flags =
      rcode |
      dnsPacket.RECURSION_DESIRED |
      dnsPacket.RECURSION_AVAILABLE |
      (wantsAd && isSigned ? dnsPacket.AUTHENTIC_DATA : 0)
    const reply = (isCut: boolean) =>
      dnsPacket.encode({
        type: 'response',
        id: (act === 'wrong_id' ? (query.id ?? 0) ^ 1 : query.id) ?? 0,
        flags: flags | (isCut ? dnsPacket.TRUNCATED_RESPONSE : 0),
        questions: [act === 'wrong_question' ? { ...question, name: `not-${question.name}` } : question],
        answers: isCut ? [] : (found?.answers ?? []),
        authorities: !isCut && isNegative && !found?.isCutShort ? this.soa(question.name) : [],
        additionals: opt === undefined || act === 'no_edns' ? [] : [opt],
      })
    const room = opt?.type === 'OPT' ? opt.udpPayloadSize : PLAIN_UDP_BYTES
    const whole = reply(act === 'truncated' && transport === 'udp')
    return transport === 'udp' && whole.length > room ? reply(true) : whole
  }

  private soa(name: string): Answer[] {
    if (this.negativeTtl === null) return []
    const zone = zoneName(name).split('.').at(-1) ?? '.'
    const data = { mname: `ns.${zone}`, rname: `hostmaster.${zone}`, serial: 1, minimum: this.negativeTtl }
    return [{ type: 'SOA', name: zone, ttl: this.negativeTtl, data }]
  }

  private isSigned(name: string): boolean {
    if (this.signed.has('.')) return true
    return [...this.signed].map(zoneName).some((zone) => name === zone || name.endsWith(`.${zone}`))
  }
}

function decode(bytes: Buffer): DecodedPacket | null {
  try {
    return dnsPacket.decode(bytes)
  } catch {
    return null
  }
}

function randomBytes(): Buffer {
  return Buffer.from(crypto.getRandomValues(new Uint8Array(64)))
}

/** Answers every question of one TCP connection (RFC 7766), each with its length in front. */
function serveTcp(socket: net.Socket, answerer: Answerer): void {
  let held: Buffer = Buffer.alloc(0)
  socket.on('error', () => undefined)
  socket.on('data', (chunk: Buffer) => {
    held = Buffer.concat([held, chunk])
    while (held.length >= 2 && held.length >= 2 + held.readUInt16BE(0)) {
      const end = 2 + held.readUInt16BE(0)
      void answerTcp(socket, answerer, Buffer.from(held.subarray(2, end)))
      held = held.subarray(end)
    }
  })
}

async function answerTcp(socket: net.Socket, answerer: Answerer, query: Buffer): Promise<void> {
  const reply = await answerer.answer(query, 'tcp')
  if (reply === 'cut') socket.destroy()
  if (!(reply instanceof Buffer) || socket.destroyed) return
  const length = Buffer.alloc(2)
  length.writeUInt16BE(reply.length)
  socket.write(Buffer.concat([length, reply]))
}

/** UDP and TCP on one port: the port that is free for TCP may be taken for UDP, so some are tried. */
async function listen(
  tcp: net.Server,
  port: number | undefined,
): Promise<{ udp: dgram.Socket; port: number }> {
  for (let tries = 0; ; tries += 1) {
    const chosen = port ?? (await freePort())
    const udp = dgram.createSocket('udp4')
    try {
      udp.bind({ port: chosen, address: '127.0.0.1', exclusive: true })
      await once(udp, 'listening')
      tcp.listen({ port: chosen, host: '127.0.0.1', exclusive: true })
      await once(tcp, 'listening')
      return { udp, port: chosen }
    } catch (error) {
      udp.close()
      if (port !== undefined || tries > 20) throw error
    }
  }
}

/** Starts a server on loopback. `stop` ends it at once: later questions find nobody. */
export async function startDnsServer(options: DnsServerOptions = {}): Promise<DnsServer> {
  const answerer = new Answerer(options)
  const sockets = new Set<net.Socket>()
  const tcp = net.createServer((socket) => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
    serveTcp(socket, answerer)
  })
  const { udp, port } = await listen(tcp, options.port)
  let isOpen = true
  let zone = options.records ?? {}
  udp.on('error', () => undefined)
  udp.on('message', async (query, from) => {
    const reply = await answerer.answer(query, 'udp')
    if (reply instanceof Buffer && isOpen) udp.send(reply, from.port, from.address)
  })
  const count: DnsServer['count'] = (name, type, transport) =>
    answerer.questions.filter(
      (asked) =>
        (name === undefined || asked.name === zoneName(name)) &&
        (type === undefined || asked.type === type) &&
        (transport === undefined || asked.transport === transport),
    ).length
  return {
    host: '127.0.0.1',
    port,
    address: `127.0.0.1:${port}`,
    get zone() {
      return zone
    },
    set zone(records: Zone) {
      zone = records
      answerer.book.replace(records)
    },
    set: (...change) => answerer.book.set(...change),
    remove: (name, type) => answerer.book.remove(name, type),
    get behaviour() {
      return answerer.behaviour
    },
    set behaviour(behaviour) {
      answerer.behaviour = behaviour
    },
    signed: answerer.signed,
    questions: answerer.questions,
    count,
    asked: async (name, type, wanted = 1, timeoutMs = PATIENCE_MS) => {
      await until(`${wanted} questions for ${name}`, () => count(name, type) >= wanted, timeoutMs)
    },
    stop: async () => {
      isOpen = false
      const closed = once(tcp, 'close')
      tcp.close()
      udp.close()
      for (const socket of sockets) socket.destroy()
      await closed
    },
  }
}
