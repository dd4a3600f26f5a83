/** Links as mails have them, for the tests of what they lead to. */
import { parseId, type UnsubscribeClaim } from '@valija/core'
import { openUnsubscribing } from '@valija/flows'
import type { TestApi } from '../../open-api.test-support.ts'

/** The links of a bulk mail to these addresses, in their order. */
export async function linksTo(
  api: TestApi,
  to: string[],
  change: Partial<UnsubscribeClaim> = {},
): Promise<{ messageId: string; recipientIds: string[]; links: string[] }> {
  const { id, recipients } = await api.send({ to, stream: 'bulk', unsubscribe: true, tags: ['news'] })
  const { unsubscribeTokens } = openUnsubscribing(api.foundation)
  const links = recipients.map((recipient, i) => {
    const claim: UnsubscribeClaim = {
      tenantId: api.tenant.id,
      messageId: parseId('message', id)!,
      recipientId: parseId('recipient', recipient.id)!,
      stream: 'bulk',
      email: to[i]!,
      ...change,
    }
    return `/unsubscribe/${unsubscribeTokens.make(claim)}`
  })
  return { messageId: id, recipientIds: recipients.map((recipient) => recipient.id), links }
}

export const look = (api: TestApi, url: string) => api.app.inject({ method: 'GET', url })

const formType = 'application/x-www-form-urlencoded'

/** What a mail program posts. */
export function follow(api: TestApi, url: string, payload = 'List-Unsubscribe=One-Click', type = formType) {
  return api.app.inject({ method: 'POST', url, payload, headers: { 'content-type': type } })
}

/** All that unsubscribing changes, of every tenant. */
export async function traces(api: TestApi) {
  const { engine } = api.foundation.database
  const count = async (sql: string) => (await engine.query<{ count: number }>(sql)).rows[0]!.count
  return {
    suppressions: await count('SELECT count(*)::int AS count FROM valija.suppressions'),
    marks: await count('SELECT count(unsubscribed_at)::int AS count FROM valija.recipients'),
    events: await count('SELECT count(*)::int AS count FROM valija.events'),
  }
}
