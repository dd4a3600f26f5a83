/**
 * What a key is bound to (`domains` and `recipients` of POST /keys), asked of messages that were accepted before: whoever may not send such a
 * message may not send it again, move it or cancel it either.
 */
import { type Caller, erasedDomain, ProductError } from '@valija/core'
import { type Address, parseAddress } from '@valija/mail'

/** A message that was accepted, by what keys are bound to. */
export interface BoundedMessage {
  /** Of the envelope and of what readers see as the sender. */
  senderDomains: readonly string[]
  recipients: readonly Pick<Address, 'key' | 'domain'>[]
}

/**
 * The refusal tells nothing of the message that the key may not know.
 *
 * @throws {ProductError} key_restricted
 */
export function refuseOutOfBounds(caller: Caller, { senderDomains, recipients }: BoundedMessage): void {
  const { domains } = caller
  if (domains.length > 0 && senderDomains.some((domain) => !domains.includes(domain))) {
    const detail = `The key may not send from the domain of this message, only from ${domains.join(', ')}.`
    throw new ProductError('key_restricted', { detail })
  }
  // Who was erased is not written to.
  const isOpenTo = (address: Pick<Address, 'key' | 'domain'>) =>
    address.domain === erasedDomain || mayBeSentTo(caller, address)
  if (recipients.every(isOpenTo)) return
  const detail = 'The key has a list of recipients, and not all of this message are on it.'
  throw new ProductError('key_restricted', { detail })
}

/** What is stored of a message, as keys are bound. */
export function boundedMessageOf(stored: {
  fromDomain: string
  fromHeader: string
  recipients: readonly { email: string }[]
}): BoundedMessage {
  const shown = /@([^@<>]+)>?$/.exec(stored.fromHeader)?.[1]
  const recipients = stored.recipients.map(({ email }) => {
    const parsed = parseAddress(email)
    if (!parsed.ok) throw new Error(`a stored address is none: ${parsed.message}`)
    return parsed.value
  })
  return { senderDomains: [stored.fromDomain, ...(shown === undefined ? [] : [shown])], recipients }
}

/** Whether the key of the caller may send to the address. */
export function mayBeSentTo(caller: Caller, { key, domain }: Pick<Address, 'key' | 'domain'>): boolean {
  const { recipients } = caller
  return (
    recipients.length === 0 || recipients.includes(`${key}@${domain}`) || recipients.includes(`@${domain}`)
  )
}
