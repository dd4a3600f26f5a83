/** `valija why <address>`: the last mails to a person, what became of each and why, on a line each, without what was in them. */
import type { Valija } from '@valija/client'
import { parseAddress } from '@valija/mail'
import { apiFlags, openApi } from '../api-client.ts'
import { command, UsageError } from '../command.ts'
import { readNumber } from '../flag-values.ts'
import { inCommands } from '../in-commands.ts'
import { jsonFlag, print, printJson, printTable } from '../output.ts'
import { templateText } from '../show-message.ts'

/** Each mail is a request: what a person looks at, and no load on an API that others use. */
const defaultLimit = 10
const atOnce = 4

export const whyCommand = command({
  name: 'why',
  args: '<address>',
  summary: 'the last mails to a person, what became of each and why; and whether the address is suppressed',
  flags: {
    limit: { type: 'string', value: '<n>', help: 'how many mails, up to 100; 10' },
    ...apiFlags,
    ...jsonFlag,
  },
  example: 'why ann@example.org',
  run: async ({ args: [address = ''], flags }) => {
    const limit = readNumber('limit', flags.limit) ?? defaultLimit
    if (!Number.isInteger(limit) || limit < 1 || limit > 100)
      throw new UsageError('--limit takes a number from 1 to 100.')
    const key = keyOf(address)
    if (key === null) throw new UsageError(`"${address}" is no address.`)
    const api = await openApi(flags)
    const { data: suppressions } = await api.list('GET /suppressions', { query: { email: address } }).page()
    const mails = await explain(api, await lastMessages(api, address, limit), key)
    if (flags.json) return printJson({ email: address, suppressions, messages: mails })
    for (const { reason, stream, status, created_at } of suppressions)
      print(`suppression list: ${status}, ${stream ?? 'both streams'}, ${reason}, since ${created_at}\n`)
    if (mails.length === 0) return print(`No mail to ${address} is on record.\n`)
    const hasTemplates = mails.some(({ template }) => template !== undefined)
    printTable(
      ['accepted', 'status', 'message', ...(hasTemplates ? ['template'] : []), 'what became of it'],
      mails.map((mail) => [
        ...[mail.created_at, mail.status, mail.id],
        ...(hasTemplates ? [mail.template && templateText(mail.template)] : []),
        truthOf(mail),
      ]),
    )
  },
})

/** What addresses are compared by; null: it is none. */
function keyOf(text: string): string | null {
  const address = parseAddress(text)
  return address.ok ? `${address.value.key}@${address.value.domain}` : null
}

/** Newest first. A page may end early, and goes on with its cursor. */
async function lastMessages(api: Valija, address: string, limit: number) {
  const found = []
  for await (const message of api.messages.list({ to: address, limit })) {
    found.push(message)
    if (found.length === limit) break
  }
  return found
}

async function explain(api: Valija, messages: Awaited<ReturnType<typeof lastMessages>>, key: string) {
  const mails = []
  for (let start = 0; start < messages.length; start += atOnce) {
    const some = messages
      .slice(start, start + atOnce)
      .map(async ({ id, created_at, from, stream, template }) => {
        const { recipients } = await api.messages.explain(id)
        return recipients
          .filter(({ email }) => keyOf(email) === key)
          .map(({ email: _, ...what }) => ({ id, created_at, from, stream, template, ...what }))
      })
    mails.push(...(await Promise.all(some)).flat())
  }
  return mails
}

/** What became of it, the likeliest cause, and when it is tried again. */
function truthOf({
  summary,
  because,
  next_attempt_at,
}: {
  summary: string
  because: readonly { detail: string }[]
  next_attempt_at: string | null
}): string {
  const next = next_attempt_at === null ? [] : [`Next try ${next_attempt_at}.`]
  return inCommands([summary, ...because.slice(0, 1).map(({ detail }) => detail), ...next].join(' '))
}
