/**
 * Everything that the API is handed: it opens no connection and reads no environment of its own, so a test hands in a
 * database of its own, and `openApiYaml` hands in nothing that works.
 */
import type { IdSource, Sealer } from '@valija/core'
import type { Authenticate, SendDesk } from '@valija/flows'
import type { Database, Wake } from '@valija/store'
import type { FastifyBaseLogger } from 'fastify'

export interface ReadinessCheck {
  name: string
  isOk: boolean
  /** One sentence for people. */
  detail: string
}

export interface Readiness {
  /** Whether a send would succeed now. Something that is not ok need not prevent that. */
  isReady: boolean
  checks: ReadinessCheck[]
}

export interface Metrics {
  contentType: string
  /** The present values in Prometheus' text format. */
  text(): Promise<string>
}

export interface ApiOptions {
  /** VALIJA_MAX_MESSAGE_SIZE; request bodies may be 1.5 times as long. */
  maxMessageSizeBytes: number
  delivery: 'capture' | 'smarthost' | 'mx'
  /** Whether API and worker are one process (`npm start`). */
  isAllInOne: boolean
  publicUrl: string | null
  /** Addresses and CIDR blocks of proxies whose X-Forwarded-* is believed; empty: none. */
  trustProxy: string[]
  /** Origins whose pages may call the API; empty: CORS is off. */
  corsOrigins: string[]
  /** What GET /metrics wants as its bearer token; null: nothing. */
  metricsToken: string | null
  /** CIDR blocks that the guard against private addresses lets through. */
  allowNetworks: string[]
}

export interface ApiDependencies {
  database: Database
  sendDesk: Pick<SendDesk, 'send'>
  authenticate: Authenticate
  nextId: IdSource
  /** PostgreSQL's clock. */
  clock: { nowMs(): number }
  wake: Wake
  sealer: Sealer
  options: ApiOptions
  readiness: () => Promise<Readiness>
  metrics: Metrics
  log: FastifyBaseLogger
}
