/**
 * One question to one server, by UDP or TCP, until its reply or until it is given up. Every question by UDP leaves from a port
 * of its own, which the kernel draws: together with the random id that is what a forger has to guess (RFC 5452 §9.2).
 */
import { createSocket } from 'node:dgram'
import { connect } from 'node:net'
import { isWantOfSockets } from '../no-socket.ts'
import type { DnsServerAddress } from './server-list.ts'
import { MAX_REPLY_BYTES, type Query, type Reading, type Reply } from './wire.ts'

export type ExchangeResult = { ok: true; reply: Reply } | ExchangeFault

export interface ExchangeFault {
  ok: false
  why: string
  /** There was no socket here to ask by. */
  isOwnWant?: boolean
}

export interface Exchange {
  result: Promise<ExchangeResult>
  /** Gives up: the socket is closed, and `result` is left alone. */
  cancel(): void
}

type Read = (bytes: Buffer, query: Query) => Reading

/** Bytes that answer nothing are passed over, so whoever sends them cannot end the wait. */
export function askByUdp(server: DnsServerAddress, query: Query, read: Read): Exchange {
  const { promise, resolve } = Promise.withResolvers<ExchangeResult>()
  const socket = createSocket(server.ip.includes(':') ? 'udp6' : 'udp4')
  let isOpen = true
  const cancel = () => {
    if (isOpen) socket.close()
    isOpen = false
  }
  const settle = (result: ExchangeResult) => {
    cancel()
    resolve(result)
  }
  socket.on('error', (error) => settle(unreachable(error)))
  socket.on('message', (bytes) => {
    const reading = read(bytes, query)
    if (reading !== 'foreign') settle(resultOf(reading))
  })
  // Connected: the kernel drops what comes from elsewhere, and a closed port is told at once.
  socket.once('connect', () => {
    if (isOpen) socket.send(query.bytes)
  })
  socket.connect(server.port, server.ip)
  return { result: promise, cancel }
}

/** RFC 7766: the length in two octets, then the message. */
export function askByTcp(server: DnsServerAddress, query: Query, read: Read): Exchange {
  const { promise, resolve } = Promise.withResolvers<ExchangeResult>()
  const socket = connect({ host: server.ip, port: server.port })
  const settle = (result: ExchangeResult) => {
    socket.destroy()
    resolve(result)
  }
  const length = Buffer.alloc(2)
  length.writeUInt16BE(query.bytes.length)
  socket.write(Buffer.concat([length, query.bytes]))
  let held: Buffer = Buffer.alloc(0)
  socket.on('data', (chunk: Buffer) => {
    held = Buffer.concat([held, chunk])
    if (held.length < 2) return
    const size = held.readUInt16BE(0)
    if (size > MAX_REPLY_BYTES) return settle(resultOf('nonsense'))
    if (held.length >= 2 + size) settle(resultOf(read(held.subarray(2, 2 + size), query)))
  })
  socket.on('error', (error) => settle(unreachable(error)))
  socket.on('close', () => settle({ ok: false, why: 'cut the connection' }))
  return { result: promise, cancel: () => socket.destroy() }
}

function resultOf(reading: Reading): ExchangeResult {
  return typeof reading === 'string'
    ? { ok: false, why: 'gave no readable reply' }
    : { ok: true, reply: reading }
}

function unreachable(error: NodeJS.ErrnoException): ExchangeFault {
  const why = `cannot be reached (${error.code ?? error.message})`
  return { ok: false, why, isOwnWant: isWantOfSockets(error) }
}
