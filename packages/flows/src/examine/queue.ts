/** The queue of hints, and whether mail that is due is being taken. */
import type { InstallationFacts, RedisFacts } from '@valija/store'
import { type Check, checkOf, durationText, messageOf, sizeText } from './check.ts'
import type { InstallationLook } from './database.ts'

export type RedisLook = { kind: 'facts'; facts: RedisFacts } | { kind: 'unreachable'; error: unknown }

/** BullMQ's scripts want at least this, and like 6.2 (its documentation). */
const leastRedis = '5.0.0'
const goodRedis = '6.2.0'
/** Above this the queue's store is soon full, with `noeviction` it then refuses. */
const fullShare = 0.9

export function judgeRedis(look: RedisLook): Check[] {
  const check = checkOf('queue', 'redis')
  if (look.kind === 'unreachable') {
    return [
      check.failed(
        `cannot be used: ${messageOf(look.error)}; mail is accepted and waits`,
        'Start Redis, or correct REDIS_URL (host, port, password, TLS).',
      ),
    ]
  }
  const { facts } = look
  const seen = `${facts.product} ${facts.version} answers, ${sizeText(facts.usedMemoryBytes)} used`
  return [judgeStore(check, facts, seen)]
}

function judgeStore(check: ReturnType<typeof checkOf>, facts: RedisFacts, seen: string): Check {
  const { product, version, redisVersion, evictionPolicy, maxMemoryBytes, usedMemoryBytes } = facts
  if (isOlder(redisVersion, leastRedis)) {
    return check.failed(`${product} ${version} is too old`, `Upgrade it to ${goodRedis} or later.`)
  }
  if (evictionPolicy !== null && evictionPolicy !== 'noeviction') {
    return check.failed(
      `maxmemory-policy is ${evictionPolicy}: under pressure parts of the queue are dropped, and no process starts with it`,
      `Run "redis-cli CONFIG SET maxmemory-policy noeviction", and write the line "maxmemory-policy noeviction" into its configuration so that it stays.`,
    )
  }
  if (facts.isReplica) {
    return check.failed('REDIS_URL names a replica, which only reads', 'Name the primary, or its sentinels.')
  }
  if (facts.isDiskFailing) {
    return check.failed(
      'its last write to disk failed: it may refuse writes',
      'Make room on its disk and look at its log; "redis-cli BGSAVE" tries again.',
    )
  }
  if (maxMemoryBytes !== null && usedMemoryBytes > fullShare * maxMemoryBytes) {
    return check.warning(
      `${sizeText(usedMemoryBytes)} of maxmemory ${sizeText(maxMemoryBytes)} are used`,
      'Raise maxmemory, or find out who else writes there: hints are small and few.',
    )
  }
  if (isOlder(redisVersion, goodRedis)) {
    return check.warning(`${seen}, an old version`, `Upgrade it to ${goodRedis} or later.`)
  }
  const kept = facts.hasAppendOnlyFile
    ? 'append-only file on'
    : 'append-only file off: a restart costs a short delay, no mail'
  return check.ok(`${seen}, noeviction, ${kept}`)
}

function isOlder(version: string, than: string): boolean {
  const [mine = [], other = []] = [version, than].map((text) => text.split('.').map(Number))
  const at = other.findIndex((part, index) => (mine[index] ?? 0) !== part)
  return at >= 0 && (mine[at] ?? 0) < (other[at] ?? 0)
}

/** The queue in PostgreSQL: the database itself is another check's matter. */
export function judgePostgresQueue(look: InstallationLook): Check[] {
  const check = checkOf('queue', 'postgres')
  if (look.kind !== 'facts') return [check.skipped('is in PostgreSQL: see there')]
  if (look.facts.hasQueueTables) return [check.ok('its tables are there (no REDIS_URL is set)')]
  return [check.failed('its tables are missing', 'Run "npm run valija -- migrate".')]
}

/**
 * Waits for longer than these mean that nobody takes what is due (docs/operations.md alarms at a minute). A campaign may wait for its turn
 * while workers run, but where it does for hours they may hang as well.
 */
const dueMs = { warning: 60_000, failed: 900_000, bulk: 21_600_000 }

export function judgeBacklog(look: InstallationLook): Check[] {
  const check = checkOf('backlog')
  if (look.kind !== 'facts') return [check.skipped('needs the database with the tables of this version')]
  const { oldestDueMs: ages, workers }: InstallationFacts = look.facts
  if (workers > 0 && ages.transactional < dueMs.warning && ages.bulk >= dueMs.bulk) {
    return [
      check.warning(
        `bulk mail has been due for ${durationText(ages.bulk)}, though workers run`,
        'See whether they send any ("npm run valija -- queue", twice: what is leased, and less that waits). If not, look at "worker trouble" in their logs and restart them; if so, it is more than they can send: start more.',
      ),
    ]
  }
  const oldestDueMs = workers > 0 ? ages.transactional : Math.max(ages.transactional, ages.bulk)
  if (oldestDueMs < dueMs.warning) {
    const running = workers === 1 ? 'one worker runs' : `${workers || 'no'} workers run`
    const what = ages.bulk < dueMs.warning ? 'no mail' : 'only bulk mail, which may wait for its turn,'
    return [check.ok(`${what} has been due for over a minute; ${running}`)]
  }
  const seen = `mail has been due for ${durationText(oldestDueMs)}`
  const [why, fix] =
    workers > 0
      ? [
          'workers run and do not take it',
          'Look at "worker trouble" in their logs and at the queue; if nothing is wrong there, start more workers.',
        ]
      : ['no worker runs', 'Start one: "npm run valija -- worker".']
  return [
    oldestDueMs < dueMs.failed ? check.warning(`${seen}: ${why}`, fix) : check.failed(`${seen}: ${why}`, fix),
  ]
}
