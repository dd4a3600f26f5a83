/** `valija explain <message id>`: where each recipient of a message stands, why, and what to do, for people (or with --json as it came). */
import { parseArgs } from 'node:util'
import { apiOptions, openApiClient } from './api-client.ts'
import { type ExplainedRecipient, explanationText } from './explanation-text.ts'

export async function explain(args: string[]): Promise<void> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: { ...apiOptions, json: { type: 'boolean', default: false } },
  })
  const [id, ...others] = positionals
  if (id === undefined || others.length > 0) {
    throw new Error('use: explain <message id> [--url <URL> --key <key>|--key-file <file>] [--json]')
  }
  if (!/^msg_[0-9a-f]{32}$/.test(id))
    throw new Error(`"${id}" is no message id: it looks like msg_0192f0c1a2b37c4d8e5f60718293a4b5.`)
  const api = await openApiClient(values)
  const answer = await api.get<{ recipients: ExplainedRecipient[] }>(
    `/messages/${encodeURIComponent(id)}/explain`,
  )
  const width = Math.min(process.stdout.columns ?? 100, 120)
  const text = values.json ? JSON.stringify(answer, null, 2) : explanationText(answer.recipients, width)
  process.stdout.write(`${text}\n`)
}
