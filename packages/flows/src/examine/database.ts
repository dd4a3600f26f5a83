/** PostgreSQL: is it there, is it ours, does it keep what it says, and has it room. */
import type { InstallationFacts, ServerFacts } from '@valija/store'
import { type Check, checkOf, durationText, messageOf } from './check.ts'

const leastVersion = 160_000
/** What one process of ours opens at most (DESIGN 4.25). */
const connectionsPerProcess = 12
/** Times are PostgreSQL's; the machine's own clock dates attempts and judges certificates. */
const skewMs = { warning: 2_000, failed: 300_000 }
/** Partitions are made 14 days ahead every 15 minutes: with half of them left nobody has made any for a week. */
const daysLeft = 7
/** Of a day: making the plan of a settlement locks all its tables and their indexes (store/plan-once.ts). */
const locksOfDay = 6

export type ServerLook =
  | { kind: 'facts'; facts: ServerFacts }
  | { kind: 'unreachable'; error: unknown }
  /** Not to be looked for: no database is configured, or the one of `npm start` is off. */
  | { kind: 'absent'; check: Check }

/** What the server tells of itself. */
export function judgeServer(look: ServerLook): Check[] {
  if (look.kind === 'absent') return [look.check]
  if (look.kind === 'unreachable') return [judgeUnreachable(look.error)]
  const { facts } = look
  return [
    judgeVersion(facts),
    judgeConnections(facts),
    judgeDurability(facts),
    judgeClock(facts),
    judgeSchema(facts),
  ]
}

function judgeUnreachable(error: unknown): Check {
  const { code } = error as { code?: unknown }
  const fixes: Record<string, string> = {
    '28P01': 'Correct user and password in DATABASE_URL.',
    '28000': 'Let this user and address in (pg_hba.conf), or correct DATABASE_URL.',
    '3D000':
      'Create the database, or correct its name in DATABASE_URL; then run "npm run valija -- migrate".',
    '53300': `PostgreSQL has no connection left: raise max_connections (${connectionsPerProcess} for each process of Valija), or end what holds them.`,
    '08P01': 'Connect to PostgreSQL itself: a pooler in transaction mode cannot carry wake-ups and leases.',
    ENOTFOUND: 'Correct the host in DATABASE_URL, or the DNS that should know it.',
    ECONNREFUSED: 'Start PostgreSQL, or correct host and port in DATABASE_URL.',
  }
  const fix = typeof code === 'string' ? fixes[code] : undefined
  return checkOf('database').failed(
    `PostgreSQL cannot be used: ${messageOf(error)}`,
    fix ?? 'Make PostgreSQL reachable from this machine under the host and port of DATABASE_URL.',
  )
}

function judgeVersion({ version, versionName, isReadOnly, roundTripMs }: ServerFacts): Check {
  const check = checkOf('database')
  const seen = `PostgreSQL ${versionName} answers in ${roundTripMs.toFixed(1)} ms`
  if (version < leastVersion) {
    return check.failed(`PostgreSQL ${versionName} is too old`, 'Upgrade PostgreSQL to 16 or later.')
  }
  if (isReadOnly) {
    return check.failed(
      `${seen}, and only reads: it is a standby, or default_transaction_read_only is on`,
      'Let DATABASE_URL name the primary.',
    )
  }
  return check.ok(seen)
}

function judgeConnections({ freeConnections, maxConnections }: ServerFacts): Check {
  const check = checkOf('connections')
  const seen = `${Math.max(0, freeConnections)} of max_connections=${maxConnections} can still be opened`
  if (freeConnections >= connectionsPerProcess) return check.ok(seen)
  return check.warning(
    `${seen}: too few for another process of Valija, which takes up to ${connectionsPerProcess}`,
    `Raise max_connections (and limits of the user and the database) to ${connectionsPerProcess} for each process, ${2 * connectionsPerProcess} more for each worker (its cells) and some to spare.`,
  )
}

/** A 202 is a promise only where a commit is on the disk. `synchronous_commit` is set by our own sessions: see below. */
function judgeDurability({ fsync, fullPageWrites }: ServerFacts): Check {
  const check = checkOf('durability')
  if (!fsync) {
    return check.failed(
      'fsync is off: a crash of that machine can lose accepted mail, or the whole database',
      'Set fsync = on in postgresql.conf and restart PostgreSQL.',
    )
  }
  if (fullPageWrites) return check.ok('fsync and full_page_writes are on')
  return check.warning(
    'full_page_writes is off: a crash can leave torn pages, unless the file system writes whole ones',
    'Set full_page_writes = on, unless the file system (ZFS) never tears a page.',
  )
}

function judgeClock({ clockOffsetMs, roundTripMs }: ServerFacts): Check {
  const check = checkOf('clock')
  const skew = Math.max(0, Math.abs(clockOffsetMs) - roundTripMs)
  const side = clockOffsetMs > 0 ? 'behind' : 'ahead of'
  const fix = 'Let both machines follow a time server (chrony, systemd-timesyncd).'
  const seen = `this machine's clock is ${durationText(skew)} ${side} PostgreSQL's`
  if (skew >= skewMs.failed) return check.failed(`${seen}: certificates and signatures are misjudged`, fix)
  if (skew >= skewMs.warning)
    return check.warning(`${seen}: times in logs and attempts do not fit together`, fix)
  return check.ok(skew < 100 ? 'this machine and PostgreSQL agree on the time' : seen)
}

function judgeSchema({ migrations: { pending, unknown } }: ServerFacts): Check {
  const check = checkOf('schema')
  if (pending.length > 0) {
    return check.failed(
      `${pending.length} migrations of this version have not been applied, the first is ${pending[0]}`,
      'Run "npm run valija -- migrate".',
    )
  }
  if (unknown.length === 0) return check.ok('the tables are those of this version')
  return check.warning(
    `a newer version has changed the tables (${unknown.at(-1)})`,
    'Bring this machine to the version that runs elsewhere.',
  )
}

export type InstallationLook =
  | { kind: 'facts'; facts: InstallationFacts }
  | { kind: 'unreadable'; error: unknown }
  /** PostgreSQL or our tables are not there. */
  | { kind: 'absent' }

/**
 * What is kept there, as our processes see it.
 *
 * @param keptDays how many will be
 */
export function judgeInstallation(look: InstallationLook, keptDays: number): Check[] {
  if (look.kind === 'absent') {
    const why = 'needs the database with the tables of this version'
    return [checkOf('secret_key').skipped(why), checkOf('partitions').skipped(why)]
  }
  if (look.kind === 'unreadable') {
    return [judgeUnreadable(look.error)]
  }
  const { facts } = look
  return [judgeSessions(facts), judgeSecretKey(facts), judgePartitions(facts), judgeLocks(facts, keptDays)]
}

/** 42501: the user may not take on a role of ours. */
function judgeUnreadable(error: unknown): Check {
  const isDenied = (error as { code?: unknown }).code === '42501'
  return checkOf('sessions').failed(
    `our tables cannot be read: ${messageOf(error)}`,
    isDenied
      ? 'Grant the roles that "migrate" made: GRANT valija_engine, valija_tenant TO the user of DATABASE_URL.'
      : "Look at PostgreSQL's log: the server answers, and this question failed.",
  )
}

/** Our sessions ask for a role and for durable commits when they connect; a pooler in between may drop that unsaid. */
function judgeSessions({ role, synchronousCommit }: InstallationFacts): Check {
  const check = checkOf('sessions')
  if (role === 'valija_engine' && synchronousCommit === 'on') {
    return check.ok('sessions get the role and the durable commits that they ask for')
  }
  return check.failed(
    `a session got role ${role} and synchronous_commit ${synchronousCommit} instead of what it asked for`,
    'Connect to PostgreSQL itself: a pooler in between drops the settings of a session.',
  )
}

function judgeSecretKey(facts: InstallationFacts): Check {
  const { secretKey, olderKeys, sealedWithOlderKeys, sealedWithUnknownKeys } = facts
  const check = checkOf('secret_key')
  if (secretKey === 'none')
    return check.ok('nothing is sealed yet: the first start binds the database to its key')
  if (secretKey === 'not_given') return check.skipped('VALIJA_SECRET_KEY is not set here')
  if (secretKey === 'other_key') {
    return check.failed(
      'what is stored was sealed with another VALIJA_SECRET_KEY: no process will start',
      'Set the key that it was sealed with, or both as "new,old".',
    )
  }
  if (secretKey === 'retired_key') {
    return check.failed(
      'the first VALIJA_SECRET_KEY was retired, a change to another was finished: no process will start',
      'Put the key that all others have first, and this one behind it ("new,old"), or leave it out.',
    )
  }
  if (sealedWithUnknownKeys > 0) {
    return check.warning(
      `${sealedWithUnknownKeys} stored secrets were sealed with a VALIJA_SECRET_KEY that is not configured: what they belong to waits`,
      'Set that key again behind the others ("new,old"); if it is lost, see docs/operations.md, "Secrets".',
    )
  }
  const seen = 'VALIJA_SECRET_KEY opens what is stored'
  if (olderKeys === 0) return check.ok(seen)
  if (sealedWithOlderKeys === 0) {
    return check.ok(`${seen}; nothing needs the older keys but bounces of mail of the last 60 days`)
  }
  return check.ok(`${seen}; the older keys are still needed: workers seal anew what they have sealed`)
}

function judgePartitions({ daysWithPartitions, daysWanted, strayRows }: InstallationFacts): Check {
  const check = checkOf('partitions')
  const fix = 'Run a worker, or "npm run valija -- migrate" once a week.'
  if (daysWithPartitions === 0) return check.failed('today has no partition', fix)
  if (strayRows > 0) {
    return check.warning(
      `${strayRows} rows stand in a default partition: retention does not find them`,
      'See docs/operations.md, "PostgreSQL"; and let a worker run all the time.',
    )
  }
  const seen = `there are partitions for ${daysWithPartitions} days (of ${daysWanted + 1})`
  if (daysWithPartitions > daysLeft) return check.ok(seen)
  return check.warning(`${seen}: no worker has made any for a week`, fix)
}

/** Of what all connections of a process may have at once there is to be twice as much. */
function judgeLocks({ days, daysWanted, locks }: InstallationFacts, keptDays: number): Check {
  const check = checkOf('locks')
  const { perConnection, connections } = locks
  const most = Math.max(days, keptDays + daysWanted + 2)
  const needed = 2 * most * locksOfDay * connectionsPerProcess
  const seen = `there is room for ${perConnection * connections} locks (max_locks_per_transaction = ${perConnection}), and ${most} days take up to ${needed}`
  if (perConnection * connections >= needed) return check.ok(seen)
  return check.warning(
    seen,
    `Set max_locks_per_transaction to ${Math.ceil(needed / connections)} or more and restart PostgreSQL.`,
  )
}
