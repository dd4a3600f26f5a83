/**
 * Every environment variable that Valija knows: the one source of the loader, of docs/configuration.md and .env.example.
 *
 * A default is written as an operator would write it and goes through the same parser as theirs.
 */
import { type Kind, kinds } from './config-values.ts'

/** What is being started. `start` is everything in one process, with an embedded PostgreSQL. */
export type Profile = 'start' | 'api' | 'worker' | 'smtp' | 'migrate' | 'cli'

export type Group =
  | 'Connections'
  | 'Process'
  | 'Keys'
  | 'Delivery'
  | 'SMTP in'
  | 'Limits and retention'
  | 'HTTP'
  | 'Telemetry'

export type Variable<T = unknown, D extends string | null = string | null> = {
  name: string
  group: Group
  kind: Kind<T>
  /** Null: there is none, and the value is null when it is not set. */
  default: D
  /** What an example in the documentation shows where there is no default. */
  example?: string
  /** One sentence (or two); what it does and what its absence means. */
  sentence: string
  isSecret?: true
  requiredBy?: readonly Profile[]
}

/** Keeps the type of the value and of the default, so that the configuration's type follows from the schema. */
const variable = <T, const D extends string | null>(definition: Variable<T, D>): Variable<T, D> => definition

const SERVERS = ['api', 'worker', 'smtp'] as const

/** In the order of the documentation; the keys are the names in the program. */
export const schema = {
  databaseUrl: variable({
    name: 'DATABASE_URL',
    group: 'Connections',
    kind: kinds.databaseUrl,
    default: null,
    example: 'postgresql://valija:password@db.example.com/valija',
    sentence:
      'PostgreSQL 16 or later, without a transaction-mode pooler. Absent in `npm start`: an embedded one.',
    isSecret: true,
    requiredBy: [...SERVERS, 'migrate'],
  }),
  redisUrl: variable({
    name: 'REDIS_URL',
    group: 'Connections',
    kind: kinds.redisUrl,
    default: null,
    example: 'redis://cache.example.com:6379',
    sentence:
      'Redis or Valkey for the queue; also `redis+cluster://…` and `redis+sentinel://…`. Absent: the queue runs in PostgreSQL.',
    isSecret: true,
  }),
  host: variable({
    name: 'HOST',
    group: 'Process',
    kind: kinds.host,
    default: '127.0.0.1',
    sentence: 'Address to listen on, for HTTP and SMTP.',
  }),
  port: variable({
    name: 'PORT',
    group: 'Process',
    kind: kinds.port,
    default: '3000',
    sentence: 'Port of the HTTP API and the inbox page.',
  }),
  logLevel: variable({
    name: 'LOG_LEVEL',
    group: 'Process',
    kind: kinds.oneOf('fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'),
    default: 'info',
    sentence: 'The least severe level that is logged.',
  }),
  nodeEnv: variable({
    name: 'NODE_ENV',
    group: 'Process',
    kind: kinds.text,
    default: 'production',
    sentence: 'Read by libraries; Valija itself behaves the same under every value.',
  }),
  dataDir: variable({
    name: 'VALIJA_DATA_DIR',
    group: 'Process',
    kind: kinds.path,
    default: '.valija',
    sentence:
      'Folder of the embedded PostgreSQL, of `secrets.json` and `dev.json`; only `npm start` writes there.',
  }),
  envFile: variable({
    name: 'VALIJA_ENV_FILE',
    group: 'Process',
    kind: kinds.path,
    default: '.env',
    sentence:
      'File with such variables, a `NAME=value` on each line, that `npm start` and `npm run valija` read first; what is set already stays. Without effect inside the file.',
  }),
  workerConcurrency: variable({
    name: 'VALIJA_WORKER_CONCURRENCY',
    group: 'Process',
    kind: kinds.whole(1, 10_000),
    default: '100',
    sentence:
      'Conversations with mail servers that one worker has under way at the same time, and the most mails that a `kill -9` of it can double.',
  }),
  drainLimitMs: variable({
    name: 'VALIJA_DRAIN_LIMIT',
    group: 'Process',
    kind: kinds.durationWithin('30s', '10m'),
    default: '60s',
    sentence:
      'How long a process that is told to stop may take. 10 s before that, conversations that still wait for a reply are given up and tried again; with `10m` the reply to a whole mail is waited for nearly as long as RFC 5321 gives a receiver. Its supervisor has to wait longer before it kills.',
  }),
  adminKey: variable({
    name: 'VALIJA_ADMIN_KEY',
    group: 'Keys',
    kind: kinds.key(8),
    default: null,
    example: 'a long random text',
    sentence: "The operator's API key: tenants, queue, routes. `npm start` makes one.",
    isSecret: true,
    requiredBy: ['api'],
  }),
  secretKeys: variable({
    name: 'VALIJA_SECRET_KEY',
    group: 'Keys',
    kind: kinds.keys(16),
    default: '',
    example: 'the output of: openssl rand -base64 32',
    sentence:
      'Encrypts stored secrets and signs return paths. `new,old` rotates: the first encrypts and signs, all decrypt. `npm start` makes one.',
    isSecret: true,
    requiredBy: SERVERS,
  }),
  delivery: variable({
    name: 'VALIJA_DELIVERY',
    group: 'Delivery',
    kind: kinds.oneOf('capture', 'smarthost', 'mx'),
    default: null,
    example: 'smarthost',
    sentence:
      "Where mail goes: kept in the capture inbox, handed to `VALIJA_SMARTHOST_URL`, or to the recipients' own mail exchangers (`mx`, which needs `VALIJA_BOUNCE_DOMAIN`). `npm start`: capture.",
    requiredBy: SERVERS,
  }),
  smarthost: variable({
    name: 'VALIJA_SMARTHOST_URL',
    group: 'Delivery',
    kind: kinds.smarthost,
    default: null,
    example: 'smtps://user:password@smtp.example.com:465',
    sentence:
      'The relay for `VALIJA_DELIVERY=smarthost`; user and password percent-encoded. Default ports: 587, smtps 465.',
    isSecret: true,
  }),
  bounceDomain: variable({
    name: 'VALIJA_BOUNCE_DOMAIN',
    group: 'Delivery',
    kind: kinds.hostname,
    default: null,
    example: 'bounces.example.com',
    sentence:
      'Domain of the signed return paths, whose MX is this installation (`valija smtp`); required by `mx`.',
  }),
  ehloName: variable({
    name: 'VALIJA_EHLO_NAME',
    group: 'Delivery',
    kind: kinds.hostname,
    default: null,
    example: 'mail.example.com',
    sentence:
      "The name given in EHLO; should match the sending address's PTR record. Absent: the machine's host name.",
  }),
  sourceIps: variable({
    name: 'VALIJA_SOURCE_IPS',
    group: 'Delivery',
    kind: kinds.addresses,
    default: '',
    example: '192.0.2.10,192.0.2.11',
    sentence:
      'Local addresses to send from, IPv4 and IPv6, while there are no `/source-ips`; relays see the first. Empty: the system chooses.',
  }),
  mxPort: variable({
    name: 'VALIJA_MX_PORT',
    group: 'Delivery',
    kind: kinds.port,
    default: '25',
    sentence: 'Port of the mail exchangers; another one only makes sense in tests.',
  }),
  dnsServers: variable({
    name: 'VALIJA_DNS_SERVERS',
    group: 'Delivery',
    kind: kinds.dnsServers,
    default: '',
    example: '127.0.0.1:5353',
    sentence: "Resolvers to ask, in turn. Empty: the system's.",
  }),
  retryScheduleMs: variable({
    name: 'VALIJA_RETRY_SCHEDULE',
    group: 'Delivery',
    kind: kinds.durations,
    default: '1m,3m,8m,20m,1h',
    sentence: 'Waits after failures of network or throttling; the last one repeats.',
  }),
  messageTtlMs: variable({
    name: 'VALIJA_MESSAGE_TTL',
    group: 'Delivery',
    kind: kinds.ttl,
    default: '24h,72h',
    sentence: 'How long a message is tried: transactional, bulk. One value holds for both.',
  }),
  allowNetworks: variable({
    name: 'VALIJA_ALLOW_NETWORKS',
    group: 'Delivery',
    kind: kinds.networks,
    default: '',
    example: '10.0.0.0/8,fd00::/8',
    sentence:
      "Private networks that mail, webhooks, mailboxes and tenants' smarthosts may connect to; also this machine's own public addresses, where a server beside us is meant. `npm start` adds loopback.",
  }),
  submissionPort: variable({
    name: 'VALIJA_SUBMISSION_PORT',
    group: 'SMTP in',
    kind: kinds.port,
    default: '2587',
    sentence: 'Port of SMTP submission with STARTTLS. `npm start` takes any free port where 2587 is taken.',
  }),
  submissionsPort: variable({
    name: 'VALIJA_SUBMISSIONS_PORT',
    group: 'SMTP in',
    kind: kinds.port,
    default: null,
    example: '2465',
    sentence: 'Port of SMTP submission with TLS from the first byte. Absent: off.',
  }),
  bouncePort: variable({
    name: 'VALIJA_BOUNCE_PORT',
    group: 'SMTP in',
    kind: kinds.port,
    default: '2525',
    sentence:
      'Port that takes bounces and complaint reports; nothing is relayed. Other hosts come to port 25: hand it on to this one. `npm start` takes any free port where 2525 is taken.',
  }),
  tlsCert: variable({
    name: 'VALIJA_TLS_CERT',
    group: 'SMTP in',
    kind: kinds.path,
    default: null,
    example: '/etc/valija/tls/fullchain.pem',
    sentence:
      'Certificate chain (PEM file) of the SMTP listeners; a renewed file is taken within a minute. Without it they have no TLS, and submission takes no AUTH; `npm start` makes a self-signed one.',
  }),
  tlsKey: variable({
    name: 'VALIJA_TLS_KEY',
    group: 'SMTP in',
    kind: kinds.path,
    default: null,
    example: '/etc/valija/tls/key.pem',
    sentence: 'Private key of the certificate (PEM file).',
  }),
  maxMessageSizeBytes: variable({
    name: 'VALIJA_MAX_MESSAGE_SIZE',
    group: 'Limits and retention',
    kind: kinds.size,
    default: '40MiB',
    sentence: 'The largest message that is accepted; request bodies may have up to 1.5 times that.',
  }),
  maxQueuedPerTenant: variable({
    name: 'VALIJA_MAX_QUEUED_PER_TENANT',
    group: 'Limits and retention',
    kind: kinds.whole(0, 1_000_000_000),
    default: '1000000',
    sentence:
      "Recipients of one tenant that may wait to be sent to; beyond it, sends are answered 429 `queue_full`. A tenant's `limits.queued` goes before it. 0: any number.",
  }),
  maxQueued: variable({
    name: 'VALIJA_MAX_QUEUED',
    group: 'Limits and retention',
    kind: kinds.whole(0, 1_000_000_000),
    default: '5000000',
    sentence: 'Recipients that may wait in all; beyond it, every send is answered 503. 0: any number.',
  }),
  maxRequestsPerAddress: variable({
    name: 'VALIJA_MAX_REQUESTS_PER_ADDRESS',
    group: 'Limits and retention',
    kind: kinds.whole(0, 1_000_000),
    default: '0',
    sentence:
      'Requests that one client address (of IPv6 a /64) may make in a minute at one API process; beyond it they are answered 429 `rate_limited` before the key is looked at. Behind a proxy set `VALIJA_TRUST_PROXY` first. 0: any number.',
  }),
  retentionContentMs: variable({
    name: 'VALIJA_RETENTION_CONTENT',
    group: 'Limits and retention',
    kind: kinds.duration,
    default: '30d',
    sentence: 'How long message bodies are kept.',
  }),
  retentionEventsMs: variable({
    name: 'VALIJA_RETENTION_EVENTS',
    group: 'Limits and retention',
    kind: kinds.duration,
    default: '90d',
    sentence: 'How long messages, attempts and events are kept.',
  }),
  publicUrl: variable({
    name: 'VALIJA_PUBLIC_URL',
    group: 'HTTP',
    kind: kinds.url('http', 'https'),
    default: null,
    example: 'https://mail.example.com',
    sentence: 'The base of links in mail and answers. Absent: `http://HOST:PORT`.',
  }),
  trackingUrl: variable({
    name: 'VALIJA_TRACKING_URL',
    group: 'HTTP',
    kind: kinds.url('http', 'https'),
    default: null,
    example: 'https://click.example.com',
    sentence:
      'The base of open and click links (reserved: tracking comes later, without effect in this version).',
  }),
  trustProxy: variable({
    name: 'VALIJA_TRUST_PROXY',
    group: 'HTTP',
    kind: kinds.networks,
    default: '',
    example: '10.0.0.0/8',
    sentence: 'Proxies whose X-Forwarded-* headers are believed. Empty: none.',
  }),
  corsOrigins: variable({
    name: 'VALIJA_CORS_ORIGINS',
    group: 'HTTP',
    kind: kinds.origins,
    default: '',
    example: 'https://app.example.com',
    sentence: 'Origins whose browsers may call the API. Empty: CORS is off.',
  }),
  metricsToken: variable({
    name: 'VALIJA_METRICS_TOKEN',
    group: 'HTTP',
    kind: kinds.key(8),
    default: null,
    sentence: 'Bearer token for `/metrics`. Absent: `/metrics` is open.',
    isSecret: true,
  }),
  otelEndpoint: variable({
    name: 'OTEL_EXPORTER_OTLP_ENDPOINT',
    group: 'Telemetry',
    kind: kinds.url('http', 'https'),
    default: null,
    example: 'http://collector.example.com:4318',
    sentence:
      'Collector for traces. Absent: none are made. Other `OTEL_*` variables are left to the OpenTelemetry SDK. Checked, and without effect in this version.',
  }),
  otelServiceName: variable({
    name: 'OTEL_SERVICE_NAME',
    group: 'Telemetry',
    kind: kinds.text,
    default: 'valija',
    sentence: 'The service name in traces. Checked, and without effect in this version.',
  }),
} as const

type ValueOf<V> = V extends Variable<infer T, infer D> ? (D extends string ? T : T | null) : never

/** The parsed values as the schema describes them, before the rules that involve several. */
export type Values = { -readonly [K in keyof typeof schema]: ValueOf<(typeof schema)[K]> }

/** All variables, without the types of their values. */
export const variables = Object.entries(schema) as [keyof Values, Variable][]
