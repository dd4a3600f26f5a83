/** `valija mailbox …`: the mailboxes in which bounces and complaints are looked for. */
import type { Valija } from '@valija/client'
import { apiFlags, openApi } from '../api-client.ts'
import { type Command, command } from '../command.ts'
import { jsonFlag, listFlags, pageQuery, printFields, printJson, printList } from '../output.ts'

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
        'what is wrong': ({ error }) => (error === null ? null : `${error.meaning} ${error.remedy}`),
      })
    },
  }),
  command({
    name: 'mailbox test',
    args: '<mailbox>',
    summary: 'tries to open it now, by name or id; exit code 1 when it cannot be',
    flags: { ...apiFlags, ...jsonFlag },
    example: 'mailbox test bounces',
    run: async ({ args: [mailbox = ''], flags }) => {
      const api = await openApi(flags)
      const path = { id: await findMailbox(api, mailbox) }
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

async function findMailbox(api: Valija, mailbox: string): Promise<string> {
  if (/^mbx_[0-9a-f]{32}$/.test(mailbox)) return mailbox
  for await (const { id, name } of api.list('GET /mailboxes', { query: { limit: 100 } }))
    if (name === mailbox) return id
  throw new Error(`There is no mailbox "${mailbox}". "mailbox list" shows all.`)
}
