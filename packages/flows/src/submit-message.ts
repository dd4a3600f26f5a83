/**
 * A mail that was handed in over SMTP, by the same rules as POST /send with `raw`: who it is for and from says the envelope, what else is wished
 * the fields X-Valija-… say, which are not sent on. Resolves once it is committed.
 */
import {
  type Caller,
  invalidRequest,
  isSubmissionField,
  type MessageDraft,
  ProductError,
  placeInSubmission,
  readSubmissionFields,
} from '@valija/core'
import { takeFields } from '@valija/mail'
import type { Allowances } from './allowances.ts'
import { hashOfSubmission } from './hash-submission.ts'
import { inTime } from './in-time.ts'
import type { SendDesk } from './send-message.ts'

export interface Submission {
  /** The address in MAIL FROM. */
  mailFrom: string
  /** Those in RCPT TO. */
  recipients: readonly string[]
  /** The mail without the dots that SMTP adds. */
  raw: Buffer
  /** MAIL FROM said REQUIRETLS (RFC 8689). */
  requireTls: boolean
}

export interface Submitted {
  /** `msg_…` */
  id: string
  /** An earlier submission with this idempotency key was accepted, and this one means the same. */
  isReplay: boolean
}

/** After the final dot a client waits for ten minutes (RFC 5321 section 4.5.3.2.6): this is for PostgreSQL's sake, and for a drain's. */
const answerMs = 20_000
/** For each octet, as over HTTP: 40 MB on a busy disk are given 40 s more. */
const perByteMs = 1 / 1024

/**
 * @param hold is given the work, which holds the mail in memory, also after an answer that did not wait for it
 * @throws {ProductError} as SendDesk.send does, and for a request's limits (a mail is one), with the names of header fields and SMTP commands in `errors`; database_unavailable also
 *   when the time is over
 */
export async function submitMessage(
  { sendDesk, allowances }: { sendDesk: SendDesk; allowances: Pick<Allowances, 'countRequest'> },
  caller: Caller,
  submission: Submission,
  hold: (work: Promise<unknown>) => void,
): Promise<Submitted> {
  const { mailFrom, recipients, raw, requireTls } = submission
  const read = takeFields(raw, isSubmissionField)
  if (!read.ok) throw invalidRequest([{ path: placeInSubmission('/raw'), message: read.message }])
  const { taken, rest } = read.value
  const fields = readSubmissionFields(taken)
  if (fields.faults.length > 0) throw invalidRequest(fields.faults)
  const input: MessageDraft = {
    ...fields.input,
    from: { email: mailFrom },
    to: recipients.map((email) => ({ email })),
    raw: rest,
    ...(requireTls && { require_tls: true }),
  }
  const key = fields.idempotencyKey
  const claim = key === null ? null : { key, bodyHash: hashOfSubmission(submission) }
  const ownMs = answerMs + raw.length * perByteMs
  const answerByMs = performance.now() + ownMs
  const work = async () => {
    await allowances.countRequest(caller)
    return sendDesk.send(caller, input, claim, answerByMs)
  }
  try {
    const working = work()
    hold(working)
    const { body, isReplay } = await inTime(ownMs, working, late)
    return { id: (JSON.parse(body) as { id: string }).id, isReplay }
  } catch (error) {
    throw error instanceof ProductError && error.errors !== undefined ? placed(error) : error
  }
}

/** The same error, its faults named as a mail program knows them. */
function placed(error: ProductError): ProductError {
  const errors = (error.errors ?? []).map(({ path, message }) => ({ path: placeInSubmission(path), message }))
  if (error.code === 'invalid_request') return invalidRequest(errors)
  const { detail, retryAfterS, limit, cause } = error
  return new ProductError(error.code, {
    errors,
    cause,
    ...(limit !== undefined && { limit }),
    ...(detail !== undefined && { detail }),
    ...(retryAfterS !== undefined && { retryAfterS }),
  })
}

const late = () =>
  new ProductError('database_unavailable', {
    detail: 'The database did not answer in time; whether the mail was accepted is not known.',
  })
