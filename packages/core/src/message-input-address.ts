/** Who a message is from and for: every address read, every fault named, every recipient counted once. */
import { type Address, type Mailbox, parseAddress, parseDisplayName, parseMailbox } from '@valija/mail'
import { erasedAddressFault, erasedDomain } from './erasure.ts'
import { type Fault, findLengthFault, pointer } from './message-input-text.ts'

/** `"a@b.example"`, `"Name <a@b.example>"` or the same in two fields. */
export type AddressInput = string | { email: string; name?: string }
/** One address, or a list of them. */
export type AddressListInput = AddressInput | AddressInput[]

export type RecipientType = 'to' | 'cc' | 'bcc'

export interface MessageRecipient {
  address: Address
  type: RecipientType
}

const MAX_RECIPIENTS = 1_000
const MAX_NAME_CHARACTERS = 256

/** @returns null when it is not an address; the fault is then in `faults` */
export function readMailbox(input: AddressInput, path: string, faults: Fault[]): Mailbox | null {
  const mailbox = typeof input === 'string' ? readText(input, path, faults) : readObject(input, path, faults)
  const lengthFault = findLengthFault(mailbox?.name ?? '', 0, MAX_NAME_CHARACTERS)
  if (lengthFault !== null) {
    const namePath = typeof input === 'string' ? path : pointer(path, 'name')
    faults.push({ path: namePath, message: `The display name: ${lengthFault}` })
  }
  if (mailbox?.address.domain !== erasedDomain) return mailbox
  faults.push({ path, message: erasedAddressFault })
  return null
}

/** @returns the mailboxes that could be read, in order */
export function readMailboxes(input: AddressListInput | undefined, path: string, faults: Fault[]): Mailbox[] {
  if (input === undefined) return []
  if (!Array.isArray(input)) {
    const mailbox = readMailbox(input, path, faults)
    return mailbox === null ? [] : [mailbox]
  }
  return input
    .map((entry, i) => readMailbox(entry, pointer(path, i), faults))
    .filter((mailbox): mailbox is Mailbox => mailbox !== null)
}

/** Each mailbox once: the first of to, cc, bcc wins. The case of the local part makes no difference. */
export function collectRecipients(
  lists: Record<RecipientType, Mailbox[]>,
  hasAddressFaults: boolean,
  faults: Fault[],
): MessageRecipient[] {
  const recipients = new Map<string, MessageRecipient>()
  for (const type of ['to', 'cc', 'bcc'] as const) {
    for (const { address } of lists[type]) {
      const mailbox = `${address.key}@${address.domain}`
      if (!recipients.has(mailbox)) recipients.set(mailbox, { address, type })
    }
  }
  if (recipients.size === 0 && !hasAddressFaults) {
    faults.push({
      path: '/to',
      message: 'There is no recipient. Give at least one address in to, cc or bcc.',
    })
  }
  if (recipients.size > MAX_RECIPIENTS) {
    const message = `There are ${recipients.size} recipients; a message takes ${MAX_RECIPIENTS}. Send it as several messages.`
    faults.push({ path: '/to', message })
  }
  return [...recipients.values()]
}

function readText(input: string, path: string, faults: Fault[]): Mailbox | null {
  const mailbox = parseMailbox(input)
  if (mailbox.ok) return mailbox.value
  faults.push({ path, message: mailbox.message })
  return null
}

function readObject(input: { email: string; name?: string }, path: string, faults: Fault[]): Mailbox | null {
  const address = parseAddress(input.email)
  const name = parseDisplayName(input.name ?? '')
  if (!address.ok) faults.push({ path: pointer(path, 'email'), message: address.message })
  if (!name.ok) faults.push({ path: pointer(path, 'name'), message: name.message })
  return address.ok && name.ok ? { name: name.value, address: address.value } : null
}
