/** What the tests of suppressions ask for. */
import type { TestApi } from '../../open-api.test-support.ts'

/** The tenant's events about entries with this address, oldest first. */
export async function suppressionEvents(api: TestApi, email: string, key = api.tenant.key) {
  const { data } = await api.events('?type=suppression.added,suppression.removed&limit=100', key)
  return data
    .filter((event) => event.data.email === email)
    .map((event): Record<string, unknown> => ({ type: event.type, ...event.data }))
}

/** Makes an entry look as after an answer that was not believed. */
export async function quarantine(api: TestApi, email: string): Promise<void> {
  await api.foundation.database.engine.query(
    `UPDATE valija.suppressions SET quarantined_at = now(), reason = 'mailbox_unknown', reply = '550 5.1.1 no' WHERE email = $1`,
    [email],
  )
}
