/** GET /messages: search, newest first. */

import { invalidRequest, messageStatuses, streams } from '@valija/core'
import { parseAddress, parseDomain } from '@valija/mail'
import { findMessages, type MessageSearch } from '@valija/store'
import { type Static, Type } from 'typebox'
import { idCursor, readIdCursor } from '../../cursor.ts'
import { readTime, timeQuery } from '../../query-time.ts'
import { callerOf, page, pageQuery, problems, type RoutePlugin, ref, strictObject } from '../../route.ts'
import { MessageSummary, showSummary } from './schemas.ts'

const metadataKey = /^metadata\.(.{1,64})$/su
const text = (description: string) =>
  Type.Optional(Type.String({ minLength: 1, maxLength: 1000, description }))

const query = strictObject(
  {
    to: text('An address; the case of its local part does not matter.'),
    from: text('The sender’s address.'),
    subject: text('A part of the subject; case does not matter.'),
    tag: text('One of the tags.'),
    status: Type.Optional(Type.Enum([...messageStatuses])),
    reason: text('The reason of any recipient.'),
    domain: text('The sender’s domain.'),
    stream: Type.Optional(Type.Enum([...streams])),
    after: timeQuery('Accepted at or after.'),
    before: timeQuery('Accepted before.'),
    ...pageQuery,
  },
  { patternProperties: { '^metadata\\..{1,64}$': { type: 'string', maxLength: 512 } } },
)

export const listMessages: RoutePlugin = (app, { database }) => {
  app.get(
    '/messages',
    {
      config: { scope: 'read' },
      schema: {
        operationId: 'listMessages',
        summary: 'Search messages, newest first',
        description:
          'All conditions must hold. `metadata.<key>=<value>` finds by metadata, and may be given for several keys. A page that has not found enough after half a second ends early: it has fewer messages, or none, and a cursor that goes on; `next_cursor` is null at the end.',
        tags: ['Messages'],
        querystring: query,
        response: { 200: page(ref(MessageSummary)), ...problems(400) },
      },
    },
    async (request) => {
      const { limit, cursor } = request.query
      const { rows, next } = await findMessages(
        database,
        callerOf(request).tenantId,
        readSearch(request.query),
        { before: readIdCursor(cursor), limit },
      )
      return { data: rows.map(showSummary), next_cursor: next && idCursor(next) }
    },
  )
}

function readSearch(input: Static<typeof query>): MessageSearch {
  const { to, from, domain, after, before, limit: _, cursor: __, ...rest } = input
  const metadata: [string, string][] = []
  const plain: [string, unknown][] = []
  for (const [name, value] of Object.entries(rest)) {
    const key = metadataKey.exec(name)?.[1]
    if (key === undefined) plain.push([name, value])
    else metadata.push([key, String(value)])
  }
  const afterMs = readTime('after', after)
  const beforeMs = readTime('before', before)
  return {
    ...(Object.fromEntries(plain) as Pick<MessageSearch, 'subject' | 'tag' | 'status' | 'reason' | 'stream'>),
    ...(to !== undefined && { toKey: readAddress('to', to) }),
    ...(from !== undefined && { fromKey: readAddress('from', from) }),
    ...(domain !== undefined && { domain: readDomain(domain) }),
    ...(metadata.length > 0 && { metadata: Object.fromEntries(metadata) }),
    ...(afterMs !== undefined && { afterMs }),
    ...(beforeMs !== undefined && { beforeMs }),
  }
}

function readAddress(name: string, value: string): string {
  const address = parseAddress(value)
  if (!address.ok) throw invalidRequest([{ path: name, message: address.message }])
  return `${address.value.key}@${address.value.domain}`
}

function readDomain(value: string): string {
  const domain = parseDomain(value)
  if (!domain.ok) throw invalidRequest([{ path: 'domain', message: domain.message }])
  return domain.value
}
