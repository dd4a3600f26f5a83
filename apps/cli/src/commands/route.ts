/** `valija route …`: the ways that mail can take. */
import { apiFlags, openApi } from '../api-client.ts'
import { type Command, command } from '../command.ts'
import { listFlags, pageQuery, printList } from '../output.ts'

export const routeCommands: readonly Command[] = [
  command({
    name: 'route list',
    summary: 'the routes that mail can take, and how each stands, newest first',
    flags: { ...apiFlags, ...listFlags },
    example: 'route list',
    run: async ({ flags }) => {
      const api = await openApi(flags)
      await printList(api.list('GET /routes', { query: pageQuery(flags) }), flags, {
        id: ({ id }) => id,
        name: ({ name }) => name,
        kind: ({ kind }) => kind,
        relay: ({ host, port }) => (host === null ? null : `${host}:${port}`),
        TLS: ({ tls }) => tls,
        shared: ({ shared }) => shared,
        state: ({ state, paused_reason, down_since }) =>
          state === 'paused'
            ? `paused, ${paused_reason}`
            : down_since === null
              ? 'in use'
              : `down since ${down_since}`,
        'what was said': ({ paused_reply, down_reply }) => paused_reply ?? down_reply,
      })
    },
  }),
]
