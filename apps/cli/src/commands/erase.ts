/** `valija erase <address>`: deletes what is kept about one person. */
import { setTimeout as delay } from 'node:timers/promises'
import type { Erasure, Valija } from '@valija/client'
import { apiFlags, openApi } from '../api-client.ts'
import { type Command, command } from '../command.ts'
import { counted } from '../in-commands.ts'
import { jsonFlag, listFlags, note, pageQuery, print, printJson, printList } from '../output.ts'
import type { Cell } from '../text-table.ts'

const lookEveryMs = 1_000

export const eraseCommands: readonly Command[] = [
  command({
    name: 'erase',
    args: '<address>',
    summary:
      'deletes what is kept about one person: what waits for the address is cancelled, the address replaced, what was said to it gone',
    flags: {
      wait: {
        type: 'boolean',
        help: 'until it is done; a mail that others are still to get is waited for. Its key has the scope read as well',
      },
      ...apiFlags,
      ...jsonFlag,
    },
    example: 'erase ann@example.org --wait',
    run: async ({ args: [email = ''], flags }) => {
      const api = await openApi(flags)
      const asked = await api.request('POST /recipients/erase', { body: { email } })
      const erasure = flags.wait ? await untilDone(api, asked) : asked
      if (flags.json) printJson(erasure)
      else print(textOf(erasure))
    },
  }),
  command({
    name: 'erase list',
    summary: 'what was erased, newest first; none tells whose it was',
    flags: { ...apiFlags, ...listFlags },
    example: 'erase list',
    run: async ({ flags }) => {
      const api = await openApi(flags)
      await printList(api.list('GET /erasures', { query: pageQuery(flags) }), flags, erasureColumns)
    },
  }),
]

async function untilDone(api: Valija, asked: Erasure): Promise<Erasure> {
  let erasure = asked
  while (erasure.status === 'pending') {
    await delay(lookEveryMs)
    const next = await look(api, erasure.id)
    if (next === null) {
      note(
        'It has begun and goes on by itself; this key may not look how far it is: that takes the scope read.',
      )
      process.exitCode = 1
      return erasure
    }
    erasure = next
  }
  return erasure
}

/** Null: the key may not know. */
async function look(api: Valija, id: string): Promise<Erasure | null> {
  try {
    return await api.request('GET /erasures/{id}', { path: { id } })
  } catch (error) {
    const { ValijaError } = await import('@valija/client')
    if (error instanceof ValijaError && error.status === 403) return null
    throw error
  }
}

const erasureColumns: Readonly<Record<string, (erasure: Erasure) => Cell>> = {
  id: ({ id }) => id,
  asked: ({ requested_at }) => requested_at,
  status: ({ status }) => status,
  done: ({ completed_at }) => completed_at,
  recipients: ({ counts }) => counts.recipients,
  placeholder: ({ placeholder }) => placeholder,
}

function textOf({ id, status, placeholder, being_sent, counts }: Erasure): string {
  const { cancelled, recipients, bodies, events, attempts } = counts
  const sending =
    being_sent === 0
      ? ''
      : `${being_sent} could not be stopped any more; they are erased when they have their end.\n`
  return `${id}  ${status}\ncancelled: ${cancelled}\n${sending}erased: ${counted(recipients, 'recipient')}, ${counted(bodies, 'content')}, ${counted(events, 'event')}, ${counted(attempts, 'attempt')}\nIts place has ${placeholder}\n`
}
