/**
 * A Valija whose PostgreSQL is a cluster of its own behind a proxy, for all that can go wrong between the two; it keeps every id
 * that was answered 202, and knows whether it was committed.
 */
import pg from 'pg'
import { expect } from 'vitest'
import { type DatabaseProxy, startDatabaseProxy } from './database-proxy.ts'
import type { Answer } from './http.ts'
import { allEnded, countEach } from './message-life.ts'
import { type OwnCluster, startOwnCluster } from './own-cluster.ts'
import { type SmtpPeer, startSmtpPeer } from './smtp-peer.ts'
import { until } from './until.ts'
import { startValija, type Valija } from './valija.ts'

export type Sent = { id: string; code?: string }

export type TroubleWorld = {
  cluster: OwnCluster
  proxy: DatabaseProxy
  peer: SmtpPeer
  valija: Valija
  /** Every id that was answered 202. */
  accepted: string[]
  /** Posts a mail to somebody new; tells how long the answer took. */
  send: (key?: string, to?: string) => Promise<Answer<Sent> & { tookMs: number }>
  untilSent: () => Promise<unknown>
  /** Asks PostgreSQL past the proxy. */
  ask: <Row extends pg.QueryResultRow>(text: string) => Promise<Row[]>
  countMessages: () => Promise<number>
  expectAllCommitted: () => Promise<void>
  /** Every mail that was answered 202 is delivered, and came exactly once. */
  expectAllDeliveredOnce: () => Promise<void>
  stop: () => Promise<void>
}

/** What is promised: every answer within 10 s. */
export const BOUND_MS = 10_000
/** What is promised: within 30 s of its return all goes on by itself. */
export const RECOVERY_MS = 30_000

/** Refused as trouble that passes, with the time to come back. */
export function expectUnavailable({ status, headers, json }: Answer<Sent>): void {
  expect([status, json.code]).toEqual([503, expect.stringMatching(/^(?:database_unavailable|overloaded)$/)])
  expect(headers.get('retry-after')).toMatch(/^[1-9]\d*$/)
}

export async function startTroubleWorld(
  settings: Record<string, string>,
  folder?: string,
): Promise<TroubleWorld> {
  const cluster = await startOwnCluster(settings, folder)
  const proxy = await startDatabaseProxy(cluster.url)
  const peer = await startSmtpPeer()
  const valija = await startValija({
    queue: 'postgres',
    delivery: 'smarthost',
    smarthost: peer,
    databaseUrl: cluster.url,
    databaseUrlFor: proxy.urlFor,
  })
  const accepted: string[] = []
  let count = 0
  const send = async (key?: string, to = `r${++count}@example.org`) => {
    const startedMs = performance.now()
    const headers: Record<string, string> = key ? { 'idempotency-key': key } : {}
    const answer = await valija.api<Sent>('POST', '/send', valija.mail({ to }), headers)
    if (answer.status === 202) accepted.push(answer.json.id)
    return { ...answer, tookMs: performance.now() - startedMs }
  }
  const ask = async <Row extends pg.QueryResultRow>(text: string) => {
    const client = new pg.Client(cluster.url)
    await client.connect()
    try {
      return (await client.query<Row>(text)).rows
    } finally {
      await client.end()
    }
  }
  return {
    cluster,
    proxy,
    peer,
    valija,
    accepted,
    send,
    untilSent: () => until('a send succeeds again', async () => (await send()).status === 202, RECOVERY_MS),
    ask,
    countMessages: async () =>
      (await ask<{ count: number }>('SELECT count(*)::int AS count FROM valija.messages'))[0]!.count,
    expectAllCommitted: async () => {
      const stored = await ask<{ id: string }>('SELECT id FROM valija.messages')
      const ids = new Set(stored.map(({ id }) => `msg_${id.replaceAll('-', '')}`))
      expect(accepted.filter((id) => !ids.has(id))).toEqual([])
    },
    expectAllDeliveredOnce: async () => {
      const ended = await allEnded(valija.api, accepted, 90_000)
      expect(countEach(ended.map(({ status }) => status))).toEqual(new Map([['delivered', accepted.length]]))
      const came = countEach(peer.mails.map(({ text }) => /^Message-ID: (.*)\r$/im.exec(text)![1]!))
      expect(ended.filter(({ rfc_message_id }) => came.get(rfc_message_id) !== 1)).toEqual([])
    },
    stop: async () => {
      await valija.stop()
      await peer.stop()
      await proxy.stop()
      await cluster.stop()
    },
  }
}
