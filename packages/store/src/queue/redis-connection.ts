/**
 * Connections to Redis (or Valkey): REDIS_URL's forms, the options of producers and workers, and the one setting of the
 * server that a queue can't live with. The only file that knows ioredis.
 *
 *   redis://user:password@host:6379/0                    one server; rediss:// with TLS
 *   redis+sentinel://:password@s1:26379,s2:26379/main    the master `main` as the sentinels say; database as ?db=1
 *   redis+cluster://user:password@n1:6379,n2:6379        a cluster, found from any of its nodes
 *
 * rediss+sentinel:// and rediss+cluster:// exist too. Credentials are the servers'; a sentinel's own go in
 * ?sentinel_username= and ?sentinel_password=. User and password are percent-encoded.
 */
import { Cluster, Redis, type RedisOptions } from 'ioredis'

const REDIS_PORT = 6379
const SENTINEL_PORT = 26379

export interface RedisTarget {
  kind: 'single' | 'sentinel' | 'cluster'
  /** The server; the sentinels; or some nodes of the cluster. At least one. */
  hosts: { host: string; port: number }[]
  /** The name by which the sentinels know the master; null otherwise. */
  masterName: string | null
  hasTls: boolean
  username: string | null
  password: string | null
  sentinelUsername: string | null
  sentinelPassword: string | null
  /** Number of the database; a cluster has only 0. */
  db: number
}

/** REDIS_URL can't be used. The message never contains the URL, which may hold a password. */
export class RedisUrlError extends Error {
  readonly code = 'redis_url_invalid'

  constructor(why: string) {
    super(
      `REDIS_URL ${why}; it looks like redis://host:6379/0, redis+sentinel://s1:26379,s2:26379/master or redis+cluster://n1:6379,n2:6379`,
    )
    this.name = 'RedisUrlError'
  }
}

/** The Redis server may drop keys when its memory is full, and a queue is nothing but keys. */
export class RedisEvictsError extends Error {
  readonly code = 'redis_evicts'

  constructor(policy: string) {
    super(
      `Redis runs with maxmemory-policy ${policy}: under memory pressure it would drop parts of the queue. ` +
        `Set it with 'redis-cli CONFIG SET maxmemory-policy noeviction', and write the line ` +
        `'maxmemory-policy noeviction' into redis.conf so that it stays.`,
    )
    this.name = 'RedisEvictsError'
  }
}

/** scheme, +mode, user:password@, hosts, /path, ?query: URL itself takes no list of hosts. */
const REDIS_URL =
  /^(rediss?)(?:\+(sentinel|cluster))?:\/\/(?:([^@/]*)@)?([^@/?#]+)(?:\/([^?#]*))?(?:\?([^#]*))?$/

/** A host name, an IPv4 address or a bracketed IPv6 address, with or without a port. */
const HOST = /^(\[[0-9a-fA-F:.]+\]|[^\s:[\]]+)(?::(\d{1,5}))?$/

function parseHost(text: string, defaultPort: number): { host: string; port: number } {
  const match = HOST.exec(text.trim())
  const port = match?.[2] ? Number(match[2]) : defaultPort
  if (!match?.[1] || port < 1 || port > 65_535) throw new RedisUrlError('names a host or port that is none')
  return { host: match[1].replace(/^\[|\]$/g, ''), port }
}

function decoded(text: string | undefined): string | null {
  if (!text) return null
  try {
    return decodeURIComponent(text)
  } catch {
    throw new RedisUrlError('has a user or password that is not percent-encoded')
  }
}

/** Takes REDIS_URL apart; throws `RedisUrlError`. */
export function parseRedisUrl(text: string): RedisTarget {
  const match = REDIS_URL.exec(text.trim())
  if (!match) throw new RedisUrlError('is not the URL of a Redis')
  const [, scheme, mode, credentials, hostList = '', path = '', query = ''] = match
  const kind = (mode ?? 'single') as RedisTarget['kind']
  const hosts = hostList
    .split(',')
    .map((host) => parseHost(host, kind === 'sentinel' ? SENTINEL_PORT : REDIS_PORT))
  if (kind === 'single' && hosts.length > 1)
    throw new RedisUrlError('names several hosts without +sentinel or +cluster')
  if (kind === 'sentinel' && !path) throw new RedisUrlError("lacks the master's name after the sentinels")
  const parameters = new URLSearchParams(query)
  const database = (kind === 'sentinel' ? '' : path) || parameters.get('db') || '0'
  if (!/^\d{1,5}$/.test(database)) throw new RedisUrlError('names a database that is no number')
  if (kind === 'cluster' && database !== '0')
    throw new RedisUrlError('names a database, and a cluster has only 0')
  const [username, ...password] = (credentials ?? '').split(':')
  return {
    kind,
    hosts,
    masterName: kind === 'sentinel' ? decoded(path) : null,
    hasTls: scheme === 'rediss',
    username: decoded(username),
    password: decoded(password.join(':')),
    sentinelUsername: parameters.get('sentinel_username'),
    sentinelPassword: parameters.get('sentinel_password'),
    db: Number(database),
  }
}

/** Reconnects after 50 ms, then twice as long each time, up to 1 s: Redis is near, and an outage costs mails' time. */
const retryDelayMs = (attempt: number): number => Math.min(50 * 2 ** (attempt - 1), 1_000)

/** A connect with no answer for this long is given up and tried again, in ms. */
const CONNECT_TIMEOUT_MS = 3_000

/**
 * A command with no answer for this long: the connection is dead without a word (a host that vanished, a firewall that forgot
 * it), and the kernel would go on for a quarter of an hour. It is cut, and made anew, in ms. A worker blocks for 5 s and has to outlast that.
 */
const SILENCE_MS: Record<RedisRole, number> = { producer: 3_000, worker: 7_000 }

/** A sentinel that says nothing for this long is passed over, in ms. */
const SENTINEL_ANSWER_MS = 2_000

/** First TCP keepalive probe on a silent connection, in ms. */
const KEEP_ALIVE_DELAY_MS = 10_000

function connectionOptions(target: RedisTarget, role: RedisRole): RedisOptions {
  return {
    ...(target.username ? { username: target.username } : {}),
    ...(target.password ? { password: target.password } : {}),
    ...(target.hasTls ? { tls: {} } : {}),
    db: target.db,
    connectTimeout: CONNECT_TIMEOUT_MS,
    keepAlive: KEEP_ALIVE_DELAY_MS,
    socketTimeout: SILENCE_MS[role],
    retryStrategy: retryDelayMs,
    // after a failover the old master answers READONLY: connect anew and send the command again
    reconnectOnError: (error) => (error.message.startsWith('READONLY') ? 2 : false),
    // A producer's commands fail while Redis is away, since a caller waits for them. A worker's wait, without bound.
    enableOfflineQueue: role === 'worker',
    maxRetriesPerRequest: role === 'worker' ? null : 1,
  }
}

export type RedisRole = 'producer' | 'worker'
export type RedisConnection = Redis | Cluster

/** Connects in the background and for ever; errors go to `onError` (one for each attempt). */
export function connectRedis(
  target: RedisTarget,
  role: RedisRole,
  onError: (error: Error) => void,
): RedisConnection {
  const options = connectionOptions(target, role)
  const connection = open(target, role, options)
  connection.on('error', onError)
  return connection
}

function open(target: RedisTarget, role: RedisRole, options: RedisOptions): RedisConnection {
  const [first] = target.hosts
  if (target.kind === 'cluster') {
    return new Cluster(target.hosts, {
      redisOptions: options,
      enableOfflineQueue: role === 'worker',
      clusterRetryStrategy: retryDelayMs,
    })
  }
  if (target.kind === 'single') return new Redis({ ...options, ...first })
  return new Redis({
    ...options,
    sentinels: target.hosts,
    name: target.masterName ?? '',
    sentinelRetryStrategy: retryDelayMs,
    sentinelCommandTimeout: SENTINEL_ANSWER_MS,
    enableTLSForSentinelMode: target.hasTls,
    ...(target.hasTls ? { sentinelTLS: {} } : {}),
    ...(target.sentinelUsername ? { sentinelUsername: target.sentinelUsername } : {}),
    ...(target.sentinelPassword ? { sentinelPassword: target.sentinelPassword } : {}),
  })
}

/**
 * What Redis answers when it cannot be used now, whatever the command: no memory for another key, no disk, a replica, a start
 * under way, a cluster with a hole, a login that is gone. In scripts the word stands inside the text.
 */
const UNUSABLE =
  /(?:^|[\s:-])(?:OOM|MISCONF|READONLY|LOADING|BUSY|CLUSTERDOWN|MASTERDOWN|NOREPLICAS|TRYAGAIN|NOAUTH|WRONGPASS|NOPERM) /

/** Whether an error says that Redis is away or cannot be used now, rather than that one command was wrong. */
export const isRedisAway = (error: Error): boolean =>
  error.name !== 'ReplyError' || UNUSABLE.test(error.message)

/** What ioredis says of a producer's command while there is no connection. */
export const isUnsent = (error: Error): boolean => error.message.startsWith("Stream isn't writeable")

/** One server's policy; by INFO where CONFIG is forbidden, as managed servers do; null when it is not told. */
async function policyOf(server: Redis): Promise<string | null> {
  try {
    return ((await server.config('GET', 'maxmemory-policy')) as string[])[1] ?? null
  } catch (error) {
    // NOPERM from an ACL, ERR unknown command from a renamed CONFIG: anything but a lost connection
    if ((error as Error).name !== 'ReplyError') throw error
    return /^maxmemory_policy:(\S+)/m.exec(await server.info('memory'))?.[1] ?? null
  }
}

/** Rejects with `RedisEvictsError` unless every server keeps all keys; says nothing when one won't tell its policy. */
export async function assertNoEviction(connection: RedisConnection): Promise<void> {
  const servers = connection instanceof Cluster ? connection.nodes('master') : [connection]
  for (const policy of await Promise.all(servers.map(policyOf))) {
    if (policy !== null && policy !== 'noeviction') throw new RedisEvictsError(policy)
  }
}
