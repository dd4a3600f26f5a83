/** `valija message …` and `valija explain`: what became of what was sent. */
import type { ChangedMessage, MessageSearch } from '@valija/client'
import { type ApiFlags, apiFlags, openApi } from '../api-client.ts'
import { type Command, command, UsageError } from '../command.ts'
import { given, readPairs } from '../flag-values.ts'
import { jsonFlag, listFlags, pageQuery, print, printJson, printList } from '../output.ts'
import { attemptColumns, eventColumns, messageColumns, showMessage, transcriptText } from '../show-message.ts'

const search = (value: string, help: string) => ({ type: 'string', value, help }) as const
const flags = { ...apiFlags, ...jsonFlag }
const example = 'msg_0192f0c1a2b37c4d8e5f60718293a4b5'

export const messageCommands: readonly Command[] = [
  command({
    name: 'message list',
    summary: 'messages, newest first',
    flags: {
      to: search('<address>', 'one of its recipients'),
      from: search('<address>', 'its sender'),
      subject: search('<text>', 'in its subject'),
      tag: search('<tag>', 'one of its tags'),
      metadata: { type: 'string', multiple: true, value: '<name=value>', help: 'what it was given' },
      status: search('<status>', 'delivered, bounced, deferred …'),
      reason: search('<reason>', 'why it waits or failed, such as mailbox_full'),
      domain: search('<domain>', 'of the sender'),
      stream: search('<stream>', 'transactional or bulk'),
      after: search('<time>', 'accepted at or after'),
      before: search('<time>', 'accepted before'),
      ...apiFlags,
      ...listFlags,
    },
    example: 'message list --status bounced --metadata order=42',
    run: async ({ flags }) => {
      const { to, from, subject, tag, status, reason, domain, stream, after, before } = flags
      const metadata = Object.entries(readPairs('metadata', flags.metadata))
      const query = {
        ...given({ to, from, subject, tag, status, reason, domain, stream, after, before }),
        ...Object.fromEntries(metadata.map(([name, value]) => [`metadata.${name}`, value])),
        ...pageQuery(flags),
      } as MessageSearch
      await printList((await openApi(flags)).messages.list(query), flags, messageColumns)
    },
  }),
  command({
    name: 'message show',
    args: '<id>',
    summary: 'a message, and how each recipient stands',
    flags,
    example: `message show ${example}`,
    run: async ({ args, flags }) => {
      const { messages, id } = await openMessage(flags, args)
      show(await messages.get(id), flags)
    },
  }),
  command({
    name: 'message events',
    args: '<id>',
    summary: 'its timeline, oldest first',
    flags: { ...apiFlags, ...listFlags },
    example: `message events ${example}`,
    run: async ({ args, flags }) => {
      const { messages, id } = await openMessage(flags, args)
      await printList(messages.events(id, pageQuery(flags)), flags, eventColumns)
    },
  }),
  command({
    name: 'message attempts',
    args: '<id>',
    summary: 'each try to deliver it, oldest first',
    flags: {
      transcript: { type: 'boolean', help: 'the SMTP conversations as well' },
      ...apiFlags,
      ...listFlags,
    },
    example: `message attempts ${example} --transcript`,
    run: async ({ args, flags }) => {
      const { messages, id } = await openMessage(flags, args)
      const attempts = messages.attempts(id, pageQuery(flags))
      await printList(attempts, flags, attemptColumns)
      if (flags.transcript && !flags.json)
        for await (const attempt of attempts) print(transcriptText(attempt))
    },
  }),
  command({
    name: 'message raw',
    args: '<id>',
    summary: 'the mail as it is sent (RFC 5322)',
    flags: apiFlags,
    example: `message raw ${example} > mail.eml`,
    run: async ({ args, flags }) => {
      const { messages, id } = await openMessage(flags, args)
      process.stdout.write(await messages.raw(id))
    },
  }),
  command({
    name: 'message cancel',
    args: '<id>',
    summary: 'stops what is not being sent this moment',
    flags,
    example: `message cancel ${example}`,
    run: async ({ args, flags }) => {
      const { messages, id } = await openMessage(flags, args)
      show(await messages.cancel(id), flags)
    },
  }),
  command({
    name: 'message move',
    args: '<id>',
    summary: 'what is not being sent this moment goes at another time',
    flags: {
      'send-at': { type: 'string', value: '<time>', help: 'up to a year ahead' },
      now: { type: 'boolean', help: 'at once' },
      ...flags,
    },
    example: `message move ${example} --send-at 2030-01-01T08:00:00Z`,
    run: async ({ args, flags }) => {
      const { 'send-at': sendAt, now } = flags
      if (now && sendAt !== undefined) throw new UsageError('Say one of --send-at and --now.')
      if (!now && sendAt === undefined) throw new UsageError('Say when: --send-at or --now.')
      const { messages, id } = await openMessage(flags, args)
      show(await messages.move(id, sendAt ?? null), flags)
    },
  }),
  command({
    name: 'message resend',
    args: '<id>',
    summary: 'sends it again as a new message, and prints its id',
    flags: {
      to: { type: 'string', multiple: true, value: '<address>', help: 'only to this one of its recipients' },
      'idempotency-key': { type: 'string', value: '<key>', help: 'the same key is sent once' },
      ...flags,
    },
    example: `message resend ${example} --to ann@example.org`,
    run: async ({ args, flags }) => {
      const { messages, id } = await openMessage(flags, args)
      const options = given({ recipients: flags.to, idempotencyKey: flags['idempotency-key'] })
      const accepted = await messages.resend(id, options)
      if (flags.json) printJson(accepted)
      else print(`${accepted.id}\n`)
    },
  }),
  command({
    name: 'explain',
    args: '<id>',
    summary: 'where each recipient of a message stands, why, and what to do',
    flags,
    example: `explain ${example}`,
    run: async ({ args, flags }) => {
      const { messages, id } = await openMessage(flags, args)
      const explanation = await messages.explain(id)
      const { explanationText } = await import('../explanation-text.ts')
      const width = Math.min(process.stdout.columns ?? 100, 120)
      if (flags.json) printJson(explanation)
      else print(`${explanationText(explanation.recipients, width)}\n`)
    },
  }),
]

function show(message: ChangedMessage, { json }: { json: boolean }): void {
  if (json) printJson(message)
  else showMessage(message)
}

async function openMessage(flags: ApiFlags, [id = '']: readonly string[]) {
  if (!/^msg_[0-9a-f]{32}$/.test(id))
    throw new UsageError(`"${id}" is no message id: it looks like ${example}.`)
  return { messages: (await openApi(flags)).messages, id }
}
