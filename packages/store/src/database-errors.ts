/**
 * What a database error means for a client: PostgreSQL away, slow, out of room or out of connections is 503 with
 * Retry-After, never a success and never a mystery.
 */
import { ProductError } from '@valija/core'
import { isQueryTimeout } from './watch-connection.ts'

/**
 * SQLSTATE classes (first two characters) of trouble that passes: connection, login, resources, operator, system, and a fault
 * inside PostgreSQL: somebody repairs it, and the statement is as good as before.
 */
const passingClasses = new Set(['08', '28', '53', '57', '58', 'XX'])
/**
 * Serialization failure, deadlock, lock not available; no such database, and one that takes no connections (while it is
 * restored or renamed); a server that only reads (just before or after a failover); a transaction that an earlier error had
 * ended, or that was idle for too long; a stack that was too small. Then what the network and this machine say.
 */
const passingCodes = new Set([
  '40001',
  '40P01',
  '55P03',
  '3D000',
  '55000',
  '25006',
  '25P02',
  '25P03',
  '54001',
  'EADDRNOTAVAIL',
  'ECONNABORTED',
  'ECONNREFUSED',
  'ECONNRESET',
  'EHOSTDOWN',
  'EHOSTUNREACH',
  'EMFILE',
  'ENFILE',
  'ENETUNREACH',
  'ENETDOWN',
  'ENOENT',
  'EPIPE',
  'ETIMEDOUT',
  'ENOTFOUND',
  'EAI_AGAIN',
  // Prisma: no transaction could be begun in time, or it met another one.
  'P2028',
  'P2034',
])
/** What pg and its pool say without a code. */
const passingTexts =
  /connection terminated|query read timeout|timeout exceeded when trying to connect|client has encountered a connection error|not queryable|Cannot use a pool after calling end/i

/**
 * PostgreSQL's code (SQLSTATE), or else what pg, Prisma or Node calls it. Prisma has one code of its own, P2010, for whatever becomes
 * of a statement that was written by hand, and PostgreSQL's within.
 */
export function databaseCodeOf(error: unknown): string | null {
  const { code, meta } = (error ?? {}) as { code?: unknown; meta?: RawQueryMeta }
  const within = code === 'P2010' ? meta?.driverAdapterError?.cause?.originalCode : undefined
  return typeof (within ?? code) === 'string' ? ((within ?? code) as string) : null
}

interface RawQueryMeta {
  driverAdapterError?: { cause?: { originalCode?: string } }
}

/** Whether the same statement can succeed later without being changed. */
export function isPassingDatabaseError(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  const code = databaseCodeOf(error)
  if (
    code !== null &&
    (passingCodes.has(code) || (code.length === 5 && passingClasses.has(code.slice(0, 2))))
  ) {
    return true
  }
  return passingTexts.test(error.message)
}

/**
 * Whether PostgreSQL refused the data of a statement (classes 22 and 23, and 54000: a value is too large for what is to hold
 * it): then one item of a batch is to blame.
 */
export function isDataError(error: unknown): boolean {
  const code = databaseCodeOf(error)
  return code !== null && /^(?:2[23]...|54000)$/.test(code)
}

/** Whether a row names another one that is not there, or that is to go while it is named (foreign_key_violation, and Prisma's code for it). */
export function isMissingReference(error: unknown): boolean {
  const code = databaseCodeOf(error)
  return code === '23503' || code === 'P2003'
}

/**
 * Whether a statement took longer than it may: PostgreSQL has ended it (57014), or nobody waits for its answer any more. In the
 * second case it may still be carried out.
 */
export function isStatementTimeout(error: unknown): boolean {
  return databaseCodeOf(error) === '57014' || isQueryTimeout(error)
}

/** The product's error for a database error; any other error comes back as it is. */
export function asProductError(error: unknown): unknown {
  return isPassingDatabaseError(error)
    ? new ProductError('database_unavailable', { retryAfterS: 2, cause: error })
    : error
}
