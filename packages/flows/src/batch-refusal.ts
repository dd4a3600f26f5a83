/** Refusals of messages in a batch, as problems of the request that they came in. */
import {
  type Caller,
  type ErrorCode,
  type FieldFault,
  invalidRequest,
  ProductError,
  type UsageLimit,
  usageLimits,
} from '@valija/core'

/** So many faults are listed at most: about one for each message. */
const maxListed = 1_000

/** Where a refusal without paths of its own is about one field. */
const fieldOf: Partial<Record<ErrorCode, string>> = {
  domain_not_verified: '/from',
  idempotency_key_reused: '/idempotency_key',
  idempotency_in_progress: '/idempotency_key',
}

/**
 * The same refusal, with paths into the batch.
 *
 * @param index of the message in the batch
 */
export function placeInBatch(error: ProductError, index: number): ProductError {
  const errors = faultsOf(error, index)
  const { title, detail, retryAfterS, limit } = error
  if (error.code === 'invalid_request' && limit === undefined) return invalidRequest(errors)
  return new ProductError(error.code, {
    errors,
    ...(title !== undefined && { title }),
    ...(detail !== undefined && { detail }),
    ...(retryAfterS !== undefined && { retryAfterS }),
    ...(limit !== undefined && { limit }),
  })
}

/**
 * One refusal for a whole batch: `invalid_request` where a message is not valid, else what the first refused message is refused with. It
 * lists the faults of all.
 *
 * @param refusals in order, at least one
 */
export function refuseBatch(refusals: readonly { index: number; error: ProductError }[]): ProductError {
  const errors = refusals.flatMap(({ index, error }) => faultsOf(error, index))
  const code =
    refusals.find(({ error }) => error.code === 'invalid_request')?.error.code ?? refusals[0]!.error.code
  const limit = refusals.find(({ error }) => error.code === code)?.error.limit
  const first = errors[0]
  const rest = errors.length > 1 ? ` (and ${errors.length - 1} more)` : ''
  return new ProductError(code, {
    errors: errors.slice(0, maxListed),
    ...(limit !== undefined && { limit }),
    ...(first && { detail: `${first.path}: ${first.message}${rest}` }),
  })
}

function faultsOf({ code, detail, errors }: ProductError, index: number): FieldFault[] {
  const place = `/messages/${index}`
  if (errors) return errors.map(({ path, message }) => ({ path: `${place}${path}`, message }))
  return [{ path: `${place}${fieldOf[code] ?? ''}`, message: detail ?? usualMessages[code] ?? 'Is refused.' }]
}

const usualMessages: Partial<Record<ErrorCode, string>> = {
  idempotency_key_reused: 'The key was used for another message.',
  idempotency_in_progress: 'Another request is working on a message with this key.',
}

/**
 * A batch that is accepted whole or not at all, and needs more than a limit has for its whole time, is not worth repeating: no waiting makes it fit.
 *
 * @param messages the addresses of the recipients of each, in the form in which they are compared
 * @throws {ProductError} invalid_request, with the limit and how to split the batch
 */
export function refuseNeverFittingBatch(
  { limits }: Pick<Caller, 'limits'>,
  messages: readonly (readonly string[])[],
): void {
  const addresses = messages.flat()
  for (const { of, name, value } of limits.usage) {
    const { counts, window } = usageLimits[name]
    const most =
      counts === 'recipients' ? { count: addresses.length, what: 'recipients' } : mostToOne(counts, addresses)
    if (most.count <= value) continue
    const detail = `limits.${name} of the ${of} is ${value}, and the batch has ${most.count} ${most.what}: it never fits, however long one waits. Split it into batches of at most ${value}, one a ${window}, or send it with mode=permissive, which accepts what fits.`
    throw new ProductError('invalid_request', {
      detail,
      errors: [{ path: '/messages', message: detail }],
      limit: { of, name, value },
    })
  }
}

/** The address to which most of the messages go. */
function mostToOne(
  counts: (typeof usageLimits)[UsageLimit['name']]['counts'],
  addresses: readonly string[],
): { count: number; what: string } {
  const sums = new Map<string, number>()
  let most = { count: 0, what: '' }
  if (counts !== 'address') return most
  for (const address of addresses) {
    const count = (sums.get(address) ?? 0) + 1
    sums.set(address, count)
    if (count > most.count) most = { count, what: `messages to ${address}` }
  }
  return most
}
