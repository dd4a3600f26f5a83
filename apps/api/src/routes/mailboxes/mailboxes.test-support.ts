/** A mailbox for tests of endpoints. */
import type { Ask, TestApi } from '../../open-api.test-support.ts'

export async function makeMailbox(
  api: TestApi,
  fields: object = {},
  as: Ask = {},
): Promise<{ id: string; name: string }> {
  const body = {
    ...{ name: 'bounces', protocol: 'imap', host: 'imap.test', port: 993, user: 'u', password: 'p' },
    ...fields,
  }
  const answer = await api.ask('POST', '/mailboxes', { ...as, body })
  if (answer.statusCode !== 201) throw new Error(answer.body)
  return answer.json()
}
