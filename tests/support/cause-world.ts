/**
 * A Valija and a small internet in which mails can be kept from arriving in every way that `explain` knows, and what a person does about
 * it: as its sender over the API, as its operator, or as the owner of a receiving server.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Internet, startInternet } from './internet.ts'
import { post, readMessage, untilEnded } from './message-life.ts'
import type { Running } from './processes.ts'
import { type Script, type SmtpPeer, type SmtpPeerOptions, startSmtpPeer } from './smtp-peer.ts'
import { until } from './until.ts'
import { type Call, expectStatus, type QueueKind, startValija, type Valija } from './valija.ts'

export type ExplainedRecipient = {
  email: string
  status: string
  summary: string
  because: { kind: string; detail: string }[]
  next_attempt_at: string | null
  remedy: string
}

/** A rule of the operator's, for a provider that holds a sender domain's mail against it. */
const shapingFile = `
providers:
  picky:
    mx: [picky.test]
    rules:
      - text: unusual rate of mail from your domain
        count: 1
        within: 1h
        blame: sending_domain
        suspend: 10m
`

/** Bulk mail is given up soon, so that a test sees it. */
export const bulkTtlMs = 12_000

/** What mails may be kept by for a moment without anybody's fault. */
const passing = new Set(['next_in_line', 'sending'])

export class CauseWorld {
  readonly valija: Valija
  readonly internet: Internet
  private readonly dataDir: string
  private readonly peers: SmtpPeer[] = []
  private sources = 0

  private constructor(valija: Valija, internet: Internet, dataDir: string) {
    this.valija = valija
    this.internet = internet
    this.dataDir = dataDir
  }

  static async start(queue: QueueKind): Promise<CauseWorld> {
    const internet = await startInternet()
    const dataDir = await mkdtemp(join(tmpdir(), 'valija-causes-'))
    await writeFile(join(dataDir, 'shaping.yaml'), shapingFile)
    const valija = await startValija({
      queue,
      delivery: 'mx',
      internet,
      env: {
        VALIJA_DATA_DIR: dataDir,
        VALIJA_RETRY_SCHEDULE: '1s',
        VALIJA_MESSAGE_TTL: `24h,${bulkTtlMs / 1000}s`,
        VALIJA_WORKER_CONCURRENCY: '20',
      },
    })
    const world = new CauseWorld(valija, internet, dataDir)
    // As soon as there are sources, mail leaves from none but those of its pool.
    await world.addSource('default')
    return world
  }

  async stop(): Promise<void> {
    await this.valija.stop()
    await Promise.all(this.peers.map((peer) => peer.stop()))
    await this.internet.stop()
    await rm(this.dataDir, { recursive: true, force: true })
  }

  // The sender

  send(to: string, fields: Record<string, unknown> = {}, call: Call = this.valija.api): Promise<string> {
    return post(call, this.valija.mail({ to, ...fields }))
  }

  async explain(id: string, call: Call = this.valija.api): Promise<ExplainedRecipient> {
    const answer = await call<{ recipients: ExplainedRecipient[] }>('GET', `/messages/${id}/explain`)
    return expectStatus(answer, 200).json.recipients[0]!
  }

  /** The first answer in the status, once what keeps the mail is more than a moment. */
  explained(id: string, status: string, call?: Call): Promise<ExplainedRecipient> {
    return until(
      `an explanation of ${id} as ${status}`,
      async () => {
        const told = await this.explain(id, call)
        const isThere = told.status === status || (status === 'queued' && told.status === 'sending')
        return isThere && !passing.has(told.because[0]?.kind ?? '') ? told : null
      },
      100_000,
    )
  }

  async isDelivered(id: string, call: Call = this.valija.api): Promise<boolean> {
    return (await untilEnded(call, id, 60_000)).status === 'delivered'
  }

  async manage<T = { id: string }>(method: string, path: string, body?: unknown): Promise<T> {
    const answer = await this.valija.api<T>(method, path, body)
    if (answer.status >= 300) throw new Error(`${method} ${path}: ${answer.text}`)
    return answer.json
  }

  // The operator

  async operate<T = { id: string }>(method: string, path: string, body?: unknown, tenant = ''): Promise<T> {
    const headers: Record<string, string> = tenant === '' ? {} : { 'valija-tenant': tenant }
    const answer = await this.valija.admin<T>(method, path, body, headers)
    if (answer.status >= 300) throw new Error(`${method} ${path}: ${answer.text}`)
    return answer.json
  }

  /** A source address of the pool; each one another. */
  addSource(pool: string, fields: object = {}): Promise<{ id: string }> {
    this.sources += 1
    return this.operate('POST', '/source-ips', {
      address: `198.51.100.${this.sources}`,
      bind: `127.0.99.${this.sources}`,
      ehlo_name: `mail${this.sources}.valija.test`,
      pool,
      ...fields,
    })
  }

  /** Lifts the pause of a site, as GET /queue names it. */
  async resumeSite(name: string): Promise<void> {
    await this.operate('POST', `/queue/sites/${(await this.slowedSite(name)).id}/resume`)
  }

  slowedSite(name: string, state?: string): Promise<{ id: string; state: string }> {
    return until(
      `${name} in GET /queue`,
      async () => {
        type Queue = { sites: { id: string; state: string; site: string; provider: string | null }[] }
        const { sites } = await this.operate<Queue>('GET', '/queue')
        const found = sites.find((site) => site.site === name || site.provider === name)
        return found !== undefined && (state === undefined || found.state === state) ? found : null
      },
      30_000,
    )
  }

  /** What would come by itself in minutes or hours comes now. */
  async passTime(id: string): Promise<void> {
    const uuid = id.slice('msg_'.length)
    await this.valija.sql('UPDATE valija.deliveries SET due_at = now() WHERE message_id = $1::uuid', [uuid])
    await this.valija.sql(`SELECT pg_notify('valija_wake', 'dispatch:')`)
  }

  /** Ends every worker at once. */
  async killWorkers(): Promise<void> {
    await Promise.all(this.valija.workers.splice(0).map((worker: Running) => worker.kill()))
  }

  // The receivers

  site(
    domain: string,
    script: Script = {},
    options: Omit<SmtpPeerOptions, 'port' | 'script'> = {},
  ): Promise<SmtpPeer> {
    return this.internet.site(domain, { ...options, script })
  }

  /** A relay of somebody's, besides the internet. */
  async relay(options: SmtpPeerOptions = {}): Promise<SmtpPeer> {
    const peer = await startSmtpPeer(options)
    this.peers.push(peer)
    return peer
  }

  async attemptsOf(id: string): Promise<number> {
    return (await readMessage(this.valija.api, id)).recipients[0]?.attempts ?? 0
  }
}

/** A cause of waiting or failing, and what is done about it. */
export type SeededCause = {
  name: string
  /** What stands first in `because`. */
  kind: string
  /** The recipient's status when somebody asks. */
  status: string
  /** What the remedy has to say, so that whoever reads it does what `cure` does. */
  remedy: RegExp
  /** Whether it needs the workers or the queue for itself. */
  isAlone?: true
  /** Sets the cause up and sends; the mail's id. */
  seed: (world: CauseWorld) => Promise<string>
  /** Follows the remedy; the id of the mail that has to be delivered then: the same one, or one that was sent again. */
  cure: (world: CauseWorld, id: string, told: ExplainedRecipient) => Promise<string>
}
