/** Builds the mail that the flags of `valija send` describe, sends it, and with `--wait` follows it to its end. */
import { readFile } from 'node:fs/promises'
import path from 'node:path'
import { buffer as readBytes, text as readText } from 'node:stream/consumers'
import { setTimeout as delay } from 'node:timers/promises'
import {
  type Message,
  type MessageInput,
  type TemplateVersion,
  type Valija,
  ValijaError,
} from '@valija/client'
import { openApi } from './api-client.ts'
import { type FlagValues, UsageError } from './command.ts'
import type { sendFlags } from './commands/send.ts'
import { given, need, readNumber, readPairs, type variableFlags } from './flag-values.ts'
import { note, print, printJson } from './output.ts'
import { showRecipients } from './show-message.ts'

type SendFlags = FlagValues<typeof sendFlags>

/** Between two looks at a message that is waited for. */
const lookMs = 300
/** How long the API may give no answer, as while it is restarted, before the waiting is given up. */
const patienceMs = 120_000

export async function sendMail(flags: SendFlags): Promise<void> {
  const declared = async (slug: string) => await declaredBy(await openApi(flags), slug)
  const mail = await readMail(flags, () => declared(flags.template ?? ''))
  const api = await openApi(flags)
  const accepted = await api.send(mail, given({ idempotencyKey: flags['idempotency-key'] }))
  if (!flags.wait) return flags.json ? printJson(accepted) : print(`${accepted.id}\n`)
  if (!flags.json) print(`${accepted.id}\n`)
  const message = await untilEnded(api.messages, accepted.id)
  if (flags.json) printJson(message)
  else showRecipients(message.recipients)
  if (message.status !== 'delivered') process.exitCode = 1
}

/** The body of POST /send. @param declared what a template takes @throws {UsageError} */
export async function readMail(flags: SendFlags, declared: Declared = async () => []): Promise<MessageInput> {
  const from = need('from', flags.from)
  if ([...flags.to, ...flags.cc, ...flags.bcc].length === 0) throw new UsageError('--to is missing.')
  const [headers, metadata] = [readPairs('header', flags.header, ':'), readPairs('metadata', flags.metadata)]
  return {
    from,
    ...given({ to: flags.to, cc: flags.cc, bcc: flags.bcc, reply_to: flags['reply-to'] }),
    ...(await readContent(flags, declared)),
    ...(flags.header.length > 0 && { headers }),
    ...(flags.metadata.length > 0 && { metadata }),
    ...given({
      tags: flags.tag,
      stream: flags.stream as MessageInput['stream'],
      send_at: flags['send-at'],
      ttl_seconds: readNumber('ttl', flags.ttl),
      route: flags.route,
      notify_if_not_handed_off_within: readNumber('late-after', flags['late-after']),
    }),
    ...(flags['require-tls'] && { require_tls: true }),
    ...(flags.unsubscribe && { unsubscribe: true }),
    ...(flags.sandbox && { sandbox: true }),
    ...(flags.sensitive && { sensitive: true }),
  }
}

async function readContent(flags: SendFlags, declared: Declared): Promise<Partial<MessageInput>> {
  const { raw, attach, template, subject } = flags
  if (raw !== undefined) {
    const bytes = raw === '-' ? await readBytes(process.stdin) : await readNamed('raw', raw)
    return { raw: bytes.toString('base64') }
  }
  const attachments = await Promise.all(
    attach.map(async (file) => ({
      filename: path.basename(file),
      content: (await readNamed('attach', file)).toString('base64'),
    })),
  )
  if (template !== undefined) {
    const use = { slug: template, variables: await readVariables(flags, declared) }
    return { template: use, ...given({ subject, attachments }) }
  }
  const file = flags['html-file']
  const html = file === undefined ? flags.html : (await readNamed('html-file', file)).toString()
  const isRead = flags.text === '-' || (flags.text === undefined && html === undefined)
  const text = isRead ? await readStandardInput() : flags.text
  return { subject: need('subject', subject), ...given({ text, html, attachments }) }
}

type Declaration = Pick<TemplateVersion['variables'][number], 'name' | 'type'>
type Declared = () => Promise<readonly Declaration[]>

/** What the published version of a template declares; nothing where the key may not read it. */
async function declaredBy(api: Valija, slug: string): Promise<readonly Declaration[]> {
  try {
    const { data } = await api.list('GET /templates', { query: { slug } }).page()
    const [found] = data
    if (found === undefined) return []
    const path = { id: found.id, version: `${found.published_version ?? found.version}` }
    return (await api.request('GET /templates/{id}/versions/{version}', { path })).variables
  } catch (error) {
    if (error instanceof ValijaError && error.status === 403) return []
    throw error
  }
}

/**
 * Those of the file, and over them those of the command line.
 *
 * @param declared is asked only where the command line has some
 * @throws {UsageError}
 */
export async function readVariables(
  { variable, variables }: FlagValues<typeof variableFlags>,
  declared: Declared,
): Promise<Record<string, unknown>> {
  const texts = readPairs('variable', variable)
  const said = variable.length === 0 ? texts : typed(texts, await declared())
  if (variables === undefined) return said
  try {
    const values: unknown = JSON.parse((await readNamed('variables', variables)).toString())
    if (typeof values === 'object' && values !== null && !Array.isArray(values)) return { ...values, ...said }
  } catch (error) {
    if (error instanceof UsageError) throw error
  }
  throw new UsageError(`The file of --variables, ${variables}, does not hold a JSON object.`)
}

/** What is no value of its type stays text: the API says what is wrong with it. */
function typed(
  texts: Readonly<Record<string, string>>,
  declared: readonly Declaration[],
): Record<string, unknown> {
  const types = new Map(declared.map(({ name, type }) => [name, type]))
  return Object.fromEntries(
    Object.entries(texts).map(([name, text]) => [name, typedValue(text, types.get(name))]),
  )
}

function typedValue(text: string, type: Declaration['type'] | undefined): string | number | boolean {
  if (type === 'number' && /^-?\d+(\.\d+)?(e[+-]?\d+)?$/i.test(text)) return Number(text)
  if (type === 'boolean' && (text === 'true' || text === 'false')) return text === 'true'
  return text
}

async function readStandardInput(): Promise<string> {
  if (process.stdin.isTTY) throw new UsageError('--text is missing, and nothing comes from standard input.')
  return await readText(process.stdin)
}

async function readNamed(flag: string, file: string): Promise<Buffer> {
  return await readFile(file).catch((error: NodeJS.ErrnoException) => {
    throw new UsageError(`The file of --${flag}, ${file}, cannot be read: ${error.code}.`, { cause: error })
  })
}

/** @throws {ValijaError} when it is refused, and when there was no answer for too long */
export async function untilEnded(
  messages: Pick<Valija['messages'], 'get'>,
  id: string,
  givenUpMs = patienceMs,
): Promise<Message> {
  let silentSinceMs: number | null = null
  for (;;) {
    try {
      const message = await messages.get(id)
      silentSinceMs = null
      if (!['scheduled', 'queued', 'sending', 'deferred'].includes(message.status)) return message
    } catch (error) {
      if (!(error instanceof ValijaError && error.isRetryable)) throw error
      if (silentSinceMs === null) note(`${error.message} The mail is accepted; it is asked for again.`)
      silentSinceMs ??= performance.now()
      if (performance.now() - silentSinceMs >= givenUpMs) throw error
    }
    await delay(lookMs)
  }
}
