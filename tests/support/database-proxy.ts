/**
 * A TCP proxy between the product and PostgreSQL, which does to connections what networks do: delay, silence, cuts.
 *
 *     const proxy = await startDatabaseProxy(directUrl)
 *     startValija({ databaseUrlFor: proxy.urlFor, … })
 *     proxy.silence()         half-open: both sides stay connected, and no octet passes any more, in either direction
 *     proxy.mend()            new connections work; those that were silenced stay dead, as after a firewall lost its table
 */
import net from 'node:net'
import { freePort } from './ports.ts'

export type DatabaseProxy = {
  /** The URL by which the product reaches a database of the cluster through here. */
  urlFor: (directUrl: string) => string
  /** PostgreSQL was started anew and is elsewhere. */
  retarget: (directUrl: string) => void
  /** Every packet from the product waits this long: a query takes that much longer. */
  delay: (ms: number) => void
  silence: () => void
  /** New connections are refused, the present ones cut. */
  refuse: () => void
  mend: () => void
  /**
   * Cuts the next connection on which the product says all of `texts` (of statements their text or name) one after the other, once
   * PostgreSQL has answered the last and before that answer gets through. Resolves when that has happened.
   */
  cutAfter: (...texts: string[]) => Promise<void>
  /** The same, but the connection is silent from then on instead of cut: the product waits for the answer. */
  holdAfter: (...texts: string[]) => Promise<void>
  /** Connections that the product has here now, silenced ones apart. */
  readonly connections: number
  stop: () => Promise<void>
}

type Link = {
  client: net.Socket
  server: net.Socket
  /** No octet passes any more. */
  isSilent: boolean
  /** Of the trap's texts, how many the product has said here. */
  heard: { trap: Trap; texts: number } | null
  /** The answer that is on its way ends the connection. */
  doom: Trap | null
  /** When what waits here longest is handed on. */
  lastDueMs: number
}

type Trap = { texts: readonly string[]; isHeld: boolean; sprung: () => void }

/** The socket that a URL of the embedded PostgreSQL names. */
function socketPath(directUrl: string): string {
  return `${new URL(directUrl).searchParams.get('host')}/.s.PGSQL.5432`
}

function throughPort(directUrl: string, port: number): string {
  const url = new URL(directUrl)
  url.searchParams.delete('host')
  url.host = `127.0.0.1:${port}`
  return url.href
}

/** What happens to all that passes. */
type Weather = {
  links: Set<Link>
  target: string
  delayMs: number
  isSilencing: boolean
  trap: Trap | null
}

function cut(weather: Weather, link: Link): void {
  weather.links.delete(link)
  link.client.resetAndDestroy()
  link.server.destroy()
}

/** Others of the product's transactions end as well: it is the connection on which the texts before were said that is meant. */
function hasHeardAll(trap: Trap, link: Link, chunk: Buffer): boolean {
  if (link.heard?.trap !== trap) link.heard = { trap, texts: 0 }
  for (const text of trap.texts.slice(link.heard.texts)) {
    if (!chunk.includes(text)) return false
    link.heard.texts += 1
  }
  return true
}

/** What is said may be answered together with what was said before it; of a COMMIT the answer has a name (CommandComplete). */
const isAnswer = ({ texts }: Trap, chunk: Buffer): boolean =>
  texts.at(-1) !== 'COMMIT' || chunk.includes('COMMIT')

function toServer(weather: Weather, link: Link, chunk: Buffer): void {
  if (link.isSilent) return
  if (weather.trap && hasHeardAll(weather.trap, link, chunk)) {
    link.doom = weather.trap
    weather.trap = null
  }
  const nowMs = performance.now()
  // In order, also when what was said before still waits.
  const dueMs = Math.max(nowMs + weather.delayMs, link.lastDueMs + 1)
  if (dueMs <= nowMs) return void link.server.write(chunk)
  link.lastDueMs = dueMs
  setTimeout(() => link.isSilent || link.server.write(chunk), dueMs - nowMs)
}

function toClient(weather: Weather, link: Link, chunk: Buffer): void {
  if (link.isSilent) return
  if (link.doom === null || !isAnswer(link.doom, chunk)) return void link.client.write(chunk)
  if (link.doom.isHeld) link.isSilent = true
  else cut(weather, link)
  link.doom.sprung()
}

function join(weather: Weather, client: net.Socket): void {
  const server = net.connect(weather.target)
  const link: Link = { client, server, isSilent: weather.isSilencing, heard: null, doom: null, lastDueMs: 0 }
  weather.links.add(link)
  client.on('data', (chunk: Buffer) => toServer(weather, link, chunk)).on('error', () => undefined)
  server.on('data', (chunk: Buffer) => toClient(weather, link, chunk)).on('error', () => undefined)
  // Half-open means: neither side hears of the other's end. PostgreSQL's side is given up, else its sessions would pile up.
  client.on('close', () => {
    weather.links.delete(link)
    server.destroy()
  })
  server.on('close', () => {
    if (!link.isSilent) client.destroy()
  })
}

function setTrap(weather: Weather, texts: readonly string[], isHeld: boolean): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  weather.trap = { texts, isHeld, sprung: resolve }
  return promise
}

export async function startDatabaseProxy(directUrl: string): Promise<DatabaseProxy> {
  const port = await freePort()
  const weather: Weather = {
    links: new Set(),
    target: socketPath(directUrl),
    delayMs: 0,
    isSilencing: false,
    trap: null,
  }
  const present = () => [...weather.links].filter(({ isSilent }) => !isSilent)
  const cutAll = () => {
    for (const link of present()) cut(weather, link)
  }
  const create = () => net.createServer({ noDelay: true }, (client) => join(weather, client))
  let server = create()
  const listen = () => new Promise<void>((resolve) => server.listen(port, '127.0.0.1', () => resolve()))
  await listen()
  return {
    urlFor: (url) => throughPort(url, port),
    retarget: (url) => {
      weather.target = socketPath(url)
    },
    delay: (ms) => {
      weather.delayMs = ms
    },
    silence: () => {
      weather.isSilencing = true
      for (const link of weather.links) link.isSilent = true
    },
    refuse: () => {
      server.close()
      cutAll()
    },
    mend: () => {
      weather.isSilencing = false
      weather.delayMs = 0
      if (server.listening) return
      server = create()
      void listen()
    },
    cutAfter: (...texts) => setTrap(weather, texts, false),
    holdAfter: (...texts) => setTrap(weather, texts, true),
    get connections() {
      return present().length
    },
    stop: async () => {
      for (const link of [...weather.links]) cut(weather, link)
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
