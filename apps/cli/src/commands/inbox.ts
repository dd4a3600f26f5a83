/** `valija inbox …`: the mails that the capture route caught, while developing. */
import type { InboxMail } from '@valija/client'
import { apiFlags, openApi } from '../api-client.ts'
import { type Command, command, UsageError } from '../command.ts'
import { given } from '../flag-values.ts'
import { jsonFlag, listFlags, pageQuery, print, printFields, printJson, printList } from '../output.ts'

export const inboxCommands: readonly Command[] = [
  command({
    name: 'inbox list',
    summary: 'the mails that were caught instead of sent, newest first',
    flags: {
      to: { type: 'string', value: '<address>', help: 'to this recipient of the envelope' },
      after: {
        type: 'string',
        value: '<time|id>',
        help: 'caught at or after this time, or after the mail of this id',
      },
      wait: { type: 'string', value: '<time>', help: 'until there is one, such as 20s, up to 60s' },
      ...apiFlags,
      ...listFlags,
    },
    example: 'inbox list --to ann@example.org --wait 20s',
    run: async ({ flags }) => {
      const { to, after, wait } = flags
      const query = { ...given({ to, after: await idOf(after), wait }), ...pageQuery(flags) }
      const api = await openApi(flags)
      // The longest wait, and as long again as a call may take.
      await printList(api.list('GET /inbox', { query, timeoutMs: 90_000 }), flags, {
        id: ({ id }) => id,
        caught: ({ received_at }) => received_at,
        to: ({ rcpt_to }) => rcpt_to.join(' '),
        from: ({ from }) => from,
        octets: ({ size_bytes }) => size_bytes,
        subject: ({ subject }) => subject,
      })
    },
  }),
  command({
    name: 'inbox clear',
    summary: 'deletes all mails that were caught',
    flags: apiFlags,
    example: 'inbox clear',
    run: async ({ flags }) => {
      await (await openApi(flags)).request('DELETE /inbox')
      print('The inbox is empty.\n')
    },
  }),
  command({
    name: 'inbox show',
    args: '<id>',
    summary: 'a caught mail: its envelope, header and text',
    flags: {
      html: { type: 'boolean', help: 'only its HTML' },
      raw: { type: 'boolean', help: 'only the mail as it was caught (RFC 5322)' },
      ...apiFlags,
      ...jsonFlag,
    },
    example: 'inbox show inb_0192f0c1a2b37c4d8e5f60718293a4b5',
    run: async ({ args: [id = ''], flags }) => {
      if ([flags.html, flags.raw, flags.json].filter(Boolean).length > 1)
        throw new UsageError('Say one of --html, --raw and --json.')
      const api = await openApi(flags)
      if (flags.raw) return process.stdout.write(await api.request('GET /inbox/{id}/raw', { path: { id } }))
      const mail = await api.request('GET /inbox/{id}', { path: { id } })
      if (flags.json) return printJson(mail)
      if (!flags.html) return showMail(mail)
      if (mail.html === null) throw new Error('This mail has no HTML.')
      print(mail.html)
    },
  }),
]

/** The API goes on behind an id; ids begin with their time, so that the lowest of a time stands for it. */
async function idOf(after: string | undefined): Promise<string | undefined> {
  if (after === undefined || after.startsWith('inb_')) return after
  const timeMs = isTime.test(after) ? Date.parse(after) : Number.NaN
  if (Number.isNaN(timeMs) || timeMs < 0)
    throw new UsageError(
      `--after takes a time such as 2026-11-23T00:00:00Z, or the id of a mail (inb_…), not "${after}".`,
    )
  const { formatId, lowestUuidAt } = await import('@valija/core')
  return formatId('inbox', lowestUuidAt(timeMs))
}

const isTime = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?(Z|[+-]\d{2}:\d{2})$/i

function showMail(mail: InboxMail): void {
  const { id, received_at, mail_from, rcpt_to, headers, text, html, attachments } = mail
  printFields([
    ['id', id],
    ['caught', received_at],
    ['MAIL FROM', mail_from === '' ? '<>' : mail_from],
    ['RCPT TO', rcpt_to.join(' ')],
    ...attachments.map(
      ({ filename, content_type, size_bytes }) =>
        ['attachment', `${filename ?? 'without a name'}, ${content_type}, ${size_bytes} octets`] as const,
    ),
  ])
  print('\n')
  printFields(headers.map(({ name, value }) => [name, value]))
  // What a mail holds does not move the terminal.
  if (text !== null) print(`\n${text.replace(/(?![\n\t])\p{Cc}+/gu, ' ').trimEnd()}\n`)
  else if (html !== null) print('\nIt has no text: --html shows its HTML.\n')
}
