/**
 * What a database error means for a client: PostgreSQL away, slow, out of room or out of connections is 503 with
 * Retry-After, never a success and never a mystery.
 */
import { ProductError } from '@valija/core'

/**
 * SQLSTATE classes (first two characters) of trouble that passes: connection, login, resources, operator, system, and a fault
 * inside PostgreSQL: somebody repairs it, and the statement is as good as before.
 */
const passingClasses = new Set(['08', '28', '53', '57', '58', 'XX'])
/**
 * Serialization failure, deadlock, lock not available; no such database, and one that takes no connections (while it is
 * restored or renamed); a server that only reads (just before or after a failover); a transaction that an earlier error had
 * ended; a stack that was too small. Then what the network and this machine say.
 */
const passingCodes = new Set([
  '40001',
  '40P01',
  '55P03',
  '3D000',
  '55000',
  '25006',
  '25P02',
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

/** Whether the same statement can succeed later without being changed. */
export function isPassingDatabaseError(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  const code = (error as { code?: unknown }).code
  if (
    typeof code === 'string' &&
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
  const code = (error as { code?: unknown } | null)?.code
  return typeof code === 'string' && /^(?:2[23]...|54000)$/.test(code)
}

/** The product's error for a database error; any other error comes back as it is. */
export function asProductError(error: unknown): unknown {
  return isPassingDatabaseError(error)
    ? new ProductError('database_unavailable', { retryAfterS: 2, cause: error })
    : error
}
