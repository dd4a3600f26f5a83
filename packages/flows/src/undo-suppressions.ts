/**
 * A provider's bad day, undone (POST /suppressions/undo): what its servers said of mailboxes between two times is taken off the list
 * together. What people said stays: their own entries, complaints and unsubscribes.
 */
import { type Caller, invalidRequest, type MailboxFault, mailboxFaults } from '@valija/core'
import { parseDomain } from '@valija/mail'
import { countUndoable, type UndoSearch, undoRows, undoSuppressions } from '@valija/store'
import type { SuppressionDesk } from './manage-suppressions.ts'

/** The body of POST /suppressions/undo. */
export interface UndoInput {
  provider?: string
  domain?: string
  reason?: MailboxFault
  after: string
  /** Absent: now. */
  before?: string
  dry_run?: boolean
}

export interface UndoReport {
  dry_run: boolean
  count: number
  /** There are further ones: ask again. */
  more: boolean
}

/** Later than anything on the list. */
const endOfTime = new Date('9999-12-31')
/** So many in one request. */
const maxCount = 100_000

/** @throws {ProductError} invalid_request */
export async function undoProvidersDay(
  { database, wake }: SuppressionDesk,
  { tenantId, keyId }: Caller,
  input: UndoInput,
): Promise<UndoReport> {
  const search = readSearch(input)
  if (input.dry_run) {
    return { dry_run: true, count: await countUndoable(database, tenantId, search), more: false }
  }
  let count = 0
  for (;;) {
    const removed = await undoSuppressions(database, tenantId, search, { how: 'undone', keyId })
    count += removed.count
    if (removed.hasWebhooks) wake.send('webhooks')
    const isLast = removed.count < undoRows
    if (isLast || count >= maxCount) return { dry_run: false, count, more: !isLast }
  }
}

function readSearch({ provider, domain, reason, after, before }: UndoInput): UndoSearch {
  const faults: { path: string; message: string }[] = []
  const readTime = (path: string, text: string): Date => {
    const ms = Date.parse(text)
    // The schema's format lets a leap second through, which Date does not know, and years that no id can hold.
    if (Number.isNaN(ms) || ms < 0) faults.push({ path, message: 'Must be a time after 1970.' })
    return new Date(ms)
  }
  const from = readTime('/after', after)
  const to = before === undefined ? endOfTime : readTime('/before', before)
  if (faults.length === 0 && from >= to)
    faults.push({ path: '/before', message: 'Must be later than "after".' })
  if (provider === undefined && domain === undefined) {
    faults.push({
      path: '/provider',
      message: 'Give a provider, as the entries name it, or a domain of addresses.',
    })
  }
  const parsed = domain === undefined ? null : parseDomain(domain)
  if (parsed?.ok === false) faults.push({ path: '/domain', message: parsed.message })
  if (faults.length > 0) throw invalidRequest(faults)
  return {
    provider: provider?.toLowerCase() ?? null,
    domain: parsed?.ok ? parsed.value : null,
    reasons: reason ? [reason] : mailboxFaults,
    after: from,
    before: to,
  }
}
