/**
 * From a request's message to what is stored of it: validate → authorise → build. The same for every way in.
 */
import {
  type Caller,
  type FieldFault,
  type IdSource,
  invalidRequest,
  type MessageDraft,
  ProductError,
  type SizeLimitName,
  type Uuid,
  usageLimits,
  type ValidatedMessage,
  validateMessage,
} from '@valija/core'
import type { DatabaseClock } from '@valija/store'
import { acceptRoute } from './accept-route.ts'
import { type BuiltMessage, buildMessage, type NamedClaim, type SendOptions } from './build-message.ts'
import { mayBeSentTo, refuseOutOfBounds } from './key-bounds.ts'
import type { Resending } from './resend-message.ts'
import type { RouteDirectory } from './route-directory.ts'
import type { SenderDomains } from './sender-domains.ts'

/** What is to be sent: as a client describes it, or a message that was accepted before. */
export type MessageSource = MessageDraft | Resending

export interface PrepareParts {
  clock: DatabaseClock
  nextId: IdSource
  senderDomains: SenderDomains
  routes: Pick<RouteDirectory, 'present' | 'refresh'>
  options: SendOptions
}

/**
 * Validates and authorises, and builds the rows and the answer.
 *
 * @throws {ProductError} invalid_request, message_too_large, domain_not_verified, key_restricted, database_unavailable
 */
export async function prepareMessage(
  dependencies: PrepareParts,
  caller: Caller,
  input: MessageSource,
  claim: NamedClaim | null,
): Promise<BuiltMessage> {
  const { clock, nextId, options } = dependencies
  const nowMs = clock.nowMs()
  const { message, ...origin } = await readSource(input, options.maxMessageSizeBytes, new Date(nowMs))
  if (origin.resentFrom !== undefined) {
    const recipients = message.recipients.map(({ address }) => address)
    refuseOutOfBounds(caller, { senderDomains: senderDomainsOf(message), recipients })
  }
  checkSize(caller, message)
  refuseNeverFitting(caller, message.recipients.length)
  const way = await acceptRoute(dependencies.routes, caller, message, options.delivery)
  // Whoever may send from any domain may while nothing leaves the machine.
  const sender = way.delivery === 'capture' ? caller : { ...caller, isDefaultTenant: false }
  await authorise(dependencies.senderDomains, sender, message)
  return buildMessage({ caller, message, way, claim, nowMs, nextId, options, ...origin })
}

/** @throws {ProductError} invalid_request, message_too_large; what reading a message again throws */
async function readSource(
  input: MessageSource,
  maxMessageSizeBytes: number,
  now: Date,
): Promise<{ message: ValidatedMessage; resentFrom?: Uuid }> {
  if (!('readAgain' in input)) {
    const checked = validateMessage(input, { maxMessageSizeBytes, now })
    if (!checked.ok) throw refusal(checked)
    return { message: checked.value }
  }
  const { resent: message, resentFrom } = await input.readAgain()
  if (message.estimatedSizeBytes > maxMessageSizeBytes) {
    const detail = `The message is about ${message.estimatedSizeBytes} octets; at most ${maxMessageSizeBytes} are allowed by now.`
    throw new ProductError('message_too_large', { detail })
  }
  return { message, resentFrom }
}

/** @throws {ProductError} message_too_large, invalid_request where the tenant's or the key's own limits are below those of everybody */
function checkSize(caller: Caller, message: ValidatedMessage): void {
  const found: Record<SizeLimitName, number> = {
    max_message_bytes: message.estimatedSizeBytes,
    max_recipients: message.recipients.length,
    max_attachments: message.attachments.length,
  }
  const limit = caller.limits.size.find(({ name, value }) => found[name] > value)
  if (limit === undefined) return
  const { of, name, value } = limit
  const detail = `limits.${name} of the ${of} is ${value}, and the message has ${found[name]}.`
  if (name === 'max_message_bytes') throw new ProductError('message_too_large', { detail, limit })
  const path = name === 'max_recipients' ? '/to' : '/attachments'
  throw new ProductError('invalid_request', {
    detail,
    errors: [{ path, message: detail }],
    limit: { of, name, value },
  })
}

/**
 * A message with more recipients than a limit has for its whole time is not worth repeating: no waiting makes it fit.
 *
 * @throws {ProductError} invalid_request
 */
function refuseNeverFitting(caller: Caller, recipientCount: number): void {
  const limit = caller.limits.usage.find(
    ({ name, value }) => usageLimits[name].counts === 'recipients' && value < recipientCount,
  )
  if (limit === undefined) return
  const { of, name, value } = limit
  const detail = `limits.${name} of the ${of} is ${value}, and the message has ${recipientCount} recipients: it never fits, however long one waits. Send it to fewer.`
  throw new ProductError('invalid_request', {
    detail,
    errors: [{ path: '/to', message: detail }],
    limit: { of, name, value },
  })
}

function refusal(checked: {
  code: 'invalid_request' | 'message_too_large'
  errors: FieldFault[]
}): ProductError {
  if (checked.code === 'invalid_request') return invalidRequest(checked.errors)
  const detail = checked.errors[0]?.message
  return new ProductError('message_too_large', { errors: checked.errors, ...(detail && { detail }) })
}

/** Every address that a reader sees as the sender must be of a domain that this tenant may use. */
async function authorise(
  senderDomains: SenderDomains,
  caller: Caller,
  message: ValidatedMessage,
): Promise<void> {
  for (const domain of senderDomainsOf(message)) await senderDomains.check(caller, domain)
  const faults = message.recipients.flatMap(({ address, type }) =>
    mayBeSentTo(caller, address)
      ? []
      : [{ path: `/${type}`, message: `This key may not send to ${address.email}.` }],
  )
  if (faults.length > 0) {
    throw new ProductError('key_restricted', { detail: 'The key has a list of recipients.', errors: faults })
  }
}

function senderDomainsOf({ from, raw }: ValidatedMessage): string[] {
  const senders = [from, raw?.from, raw?.sender].flatMap((mailbox) => mailbox ?? [])
  return [...new Set(senders.map((mailbox) => mailbox.address.domain))]
}
