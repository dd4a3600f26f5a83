/**
 * Everything that the API is handed: it opens no connection and reads no environment of its own, so a test hands in a
 * database of its own, and `openApiYaml` hands in nothing that works.
 */
import type { Caller, IdSource, MessageInput, Sealer, UnsubscribeTokens } from '@valija/core'
import type { OpenMailbox, OutgoingHttp, Resolver } from '@valija/courier'
import type {
  Allowances,
  Authenticate,
  DomainHosts,
  ErasureDesk,
  MailSigner,
  MessageDesk,
  MessagePreview,
  ReportFields,
  SendDesk,
  SendingHost,
  TemplateDesk,
  UnsubscribeDesk,
} from '@valija/flows'
import type { Database, HintQueue, Wake } from '@valija/store'
import type { TemplateRenderer } from '@valija/templates'
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
  /** Requests that one client address may make in a minute at this process; 0: any number. */
  maxRequestsPerAddress: number
  /** VALIJA_RETENTION_EVENTS, in days that were begun. */
  retentionDays: number
  /** VALIJA_RETENTION_CONTENT, likewise. */
  contentDays: number
  /** CIDR blocks that the guard against private addresses lets through. */
  allowNetworks: string[]
}

export interface ApiDependencies {
  database: Database
  sendDesk: Pick<SendDesk, 'send' | 'sendBatch'>
  messageDesk: MessageDesk
  erasureDesk: ErasureDesk
  /** Throws what `sendDesk.send` would refuse the message with. */
  previewMessage: (caller: Caller, input: MessageInput) => Promise<MessagePreview>
  templateDesk: TemplateDesk
  renderer: TemplateRenderer
  authenticate: Authenticate
  /** Counts requests against the limits of their callers. */
  allowances: Pick<Allowances, 'countRequest'>
  nextId: IdSource
  /** PostgreSQL's clock. */
  clock: { nowMs(): number }
  wake: Wake
  /** What is told of it: `explain`. */
  queue: Pick<HintQueue, 'backend' | 'isUp' | 'lastError'>
  sealer: Sealer
  signer: MailSigner
  /** What the links in mails say. */
  unsubscribeTokens: UnsubscribeTokens
  /** Of mails as they are sent. */
  reportFields: ReportFields
  unsubscribeDesk: UnsubscribeDesk
  /** For the records of sender domains; keeps no answers. */
  resolver: Resolver
  /** What of this installation the records of sender domains name. */
  domainHosts: DomainHosts
  /** Who exchangers see, as far as that is known. */
  sendingHosts: () => Promise<SendingHost[]>
  /** For what a person tries out: a webhook's test. */
  http: Pick<OutgoingHttp, 'post'>
  /** For a mailbox's test; ends well within a request's time. */
  openMailbox: OpenMailbox
  options: ApiOptions
  readiness: () => Promise<Readiness>
  metrics: Metrics
  log: FastifyBaseLogger
}
