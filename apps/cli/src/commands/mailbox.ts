/** `valija mailbox …`: the mailboxes in which bounces and complaints are looked for. */
import type { Mailbox, MailboxChange, MailboxInput } from '@valija/client'
import { type ApiFlags, apiFlags, openApi } from '../api-client.ts'
import { type Command, command } from '../command.ts'
import { findByName } from '../find-by-name.ts'
import { changed, given, need, passwordFlag, readNumber, readPassword } from '../flag-values.ts'
import { jsonFlag, listFlags, pageQuery, print, printFields, printJson, printList } from '../output.ts'

const flags = { ...apiFlags, ...jsonFlag }
const serverFlags = {
  host: { type: 'string', value: '<host>', help: 'its server' },
  port: { type: 'string', value: '<port>', help: 'IMAP: 993, or 143 with STARTTLS; POP3: 995, or 110' },
  tls: { type: 'string', value: '<mode>', help: 'implicit, starttls or none; by the port' },
  user: { type: 'string', value: '<user>', help: 'for the login' },
  ...passwordFlag,
  folder: { type: 'string', value: '<folder>', help: 'IMAP: the one that is read; INBOX' },
  'done-folder': {
    type: 'string',
    value: '<folder>',
    help: 'IMAP: where mails that were applied go; Valija',
  },
} as const

export const mailboxCommands: readonly Command[] = [
  command({
    name: 'mailbox list',
    summary: 'the mailboxes that are looked after, and how each does, newest first',
    flags: { ...apiFlags, ...listFlags },
    example: 'mailbox list',
    run: async ({ flags }) => {
      const api = await openApi(flags)
      await printList(api.list('GET /mailboxes', { query: pageQuery(flags) }), flags, {
        id: ({ id }) => id,
        name: ({ name }) => name,
        status: ({ status }) => status,
        server: ({ protocol, host, port }) => `${protocol} ${host}:${port}`,
        user: ({ user }) => user,
        'last look': ({ last_look_at }) => last_look_at,
        applied: ({ counts }) => counts.applied,
        'what is wrong': troubleText,
      })
    },
  }),
  command({
    name: 'mailbox show',
    args: '<mailbox>',
    summary: 'a mailbox, how it does, and what came of its mails; by name or id',
    flags,
    example: 'mailbox show bounces',
    run: async ({ args, flags }) => {
      const { api, path } = await openMailbox(flags, args)
      showMailbox(await api.request('GET /mailboxes/{id}', { path }), flags)
    },
  }),
  command({
    name: 'mailbox create',
    summary: 'has a mailbox looked after for bounces and complaints',
    flags: {
      name: { type: 'string', value: '<name>', help: 'for people' },
      protocol: { type: 'string', value: '<imap|pop3>', help: 'imap' },
      ...serverFlags,
      ...flags,
    },
    example:
      'mailbox create --name bounces --host imap.acme.example --port 993 --user bounces@acme.example --password-file password',
    run: async ({ flags }) => {
      const body = {
        name: need('name', flags.name),
        protocol: (flags.protocol ?? 'imap') as MailboxInput['protocol'],
        host: need('host', flags.host),
        port: readNumber('port', need('port', flags.port)) ?? 0,
        user: need('user', flags.user),
        password: (await readPassword(need('password-file', flags['password-file']))) ?? '',
        ...given({
          tls: flags.tls as MailboxInput['tls'],
          folder: flags.folder,
          done_folder: flags['done-folder'],
        }),
      }
      showMailbox(await (await openApi(flags)).request('POST /mailboxes', { body }), flags)
    },
  }),
  command({
    name: 'mailbox update',
    args: '<mailbox>',
    summary: 'changes where a mailbox is, or how it is opened',
    flags: { name: { type: 'string', value: '<name>', help: 'another name' }, ...serverFlags, ...flags },
    example: 'mailbox update bounces --password-file password',
    run: async ({ args, flags }) => {
      const body = changed(
        {
          name: flags.name,
          host: flags.host,
          port: readNumber('port', flags.port),
          tls: flags.tls as MailboxChange['tls'],
          user: flags.user,
          password: await readPassword(flags['password-file']),
          folder: flags.folder,
          done_folder: flags['done-folder'],
        },
        ['name', ...Object.keys(serverFlags)],
      )
      await changeMailbox(args, body, flags)
    },
  }),
  standing('mailbox pause', 'paused', 'it is not looked at, until it is resumed'),
  standing('mailbox resume', 'enabled', 'it is looked at again'),
  command({
    name: 'mailbox delete',
    args: '<mailbox>',
    summary: 'it is looked after no more; its mails stay where they are',
    flags: apiFlags,
    example: 'mailbox delete bounces',
    run: async ({ args, flags }) => {
      const { api, path } = await openMailbox(flags, args)
      await api.request('DELETE /mailboxes/{id}', { path })
      print(`deleted  ${path.id}\n`)
    },
  }),
  command({
    name: 'mailbox test',
    args: '<mailbox>',
    summary: 'tries to open it now, by name or id; exit code 1 when it cannot be',
    flags,
    example: 'mailbox test bounces',
    run: async ({ args, flags }) => {
      const { api, path } = await openMailbox(flags, args)
      // Its server is waited for.
      const result = await api.request('POST /mailboxes/{id}/test', { path, timeoutMs: 90_000 })
      if (!result.ok) process.exitCode = 1
      if (flags.json) return printJson(result)
      const { ok, error, mails, tells_of_news, duration_ms } = result
      printFields([
        ['opened', ok],
        ...(error === null
          ? ([
              ['mails', mails],
              ['tells of news', tells_of_news],
            ] as const)
          : ([
              ['what is wrong', error.meaning],
              ['what was said', error.detail],
              ['what to do', error.remedy],
            ] as const)),
        ['ms', Math.round(duration_ms)],
      ])
    },
  }),
]

function standing(name: string, state: Mailbox['state'], summary: string): Command {
  return command({
    name,
    args: '<mailbox>',
    summary,
    flags,
    example: `${name} bounces`,
    run: ({ args, flags }) => changeMailbox(args, { state }, flags),
  })
}

async function changeMailbox(
  args: readonly string[],
  body: MailboxChange,
  flags: ApiFlags & { json: boolean },
): Promise<void> {
  const { api, path } = await openMailbox(flags, args)
  showMailbox(await api.request('PATCH /mailboxes/{id}', { path, body }), flags)
}

const troubleText = ({ error }: Mailbox) => (error === null ? null : `${error.meaning} ${error.remedy}`)

function showMailbox(mailbox: Mailbox, { json }: { json: boolean }): void {
  if (json) return void printJson(mailbox)
  const { id, name, status, protocol, host, port, tls, user, counts } = mailbox
  printFields([
    ['id', id],
    ['name', name],
    ['status', status],
    ['what is wrong', troubleText(mailbox)],
    ['failing since', mailbox.failing_since],
    ['server', `${protocol} ${host}:${port}, TLS ${tls}`],
    ['user', user],
    ['folder', mailbox.folder],
    ['applied go to', mailbox.done_folder],
    ['last look', mailbox.last_look_at],
    ['next look', mailbox.next_look_at],
    ['applied', counts.applied],
    ['made', mailbox.created_at],
  ])
}

async function openMailbox(flags: ApiFlags, [mailbox = '']: readonly string[]) {
  const api = await openApi(flags)
  const all = () => api.list('GET /mailboxes', { query: { limit: 100 } })
  return { api, path: { id: await findByName('mailbox', mailbox, all, ({ name }) => name) } }
}
