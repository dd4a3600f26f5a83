/** The stream of events over real sockets: in order, for ever, and through trouble. */
import { expect, test } from 'vitest'
import { ValijaError } from './error.ts'
import { type Asked, problem, startScriptedApi } from './scripted-api.test-support.ts'
import { Valija } from './valija.ts'

const event = (id: string) => ({
  id,
  type: 'message.delivered',
  timestamp: '2026-11-23T14:05:09.123Z',
  data: {},
})
const page = (ids: string[], next: string) => ({ json: { data: ids.map(event), next_cursor: next } })
const cursorOf = ({ path }: Asked) => new URLSearchParams(path.split('?')[1]).get('cursor')

/** Its ids, until there are so many. */
async function read(stream: AsyncIterable<{ id: string }>, count: number): Promise<string[]> {
  const ids: string[] = []
  for await (const { id } of stream) if (ids.push(id) === count) break
  return ids
}

test('goes on from page to page, and waits where there is nothing new', async () => {
  const { asked, client } = await startScriptedApi([
    page(['e1', 'e2'], 'c1'),
    page([], 'c2'),
    page([], 'c2'),
    page(['e3'], 'c3'),
  ])
  expect(await read(client.events({ idleMs: 40 }), 3)).toEqual(['e1', 'e2', 'e3'])
  expect(asked.map(cursorOf)).toEqual([null, 'c1', 'c2', 'c2'])
  expect(asked[3]!.atMs - asked[1]!.atMs).toBeGreaterThanOrEqual(70)
  expect(asked[0]!.path).toBe('/events?limit=100')
})

test('begins at the cursor or time that is given, with the types that are asked for', async () => {
  const { asked, client } = await startScriptedApi([page(['e9'], 'c9')])
  await read(client.events({ cursor: 'c8', types: ['message.bounced', 'message.failed'], limit: 5 }), 1)
  await read(client.events({ after: '2026-11-23T00:00:00Z' }), 1)
  expect(asked.map(({ path }) => path)).toEqual([
    '/events?type=message.bounced&type=message.failed&cursor=c8&limit=5',
    '/events?after=2026-11-23T00%3A00%3A00Z&limit=100',
  ])
})

test('a cursor that is null, as of a database that has none yet, is none', async () => {
  const { asked, client } = await startScriptedApi([page(['e1', 'e2'], 'c1')])
  const stream = client.events({ cursor: null })
  await read(stream, 1)
  expect(stream.cursor).toBeUndefined()
  await client.request('GET /events', { query: { cursor: null as unknown as string } })
  expect(asked.map(cursorOf)).toEqual([null, null])
})

test('its cursor, kept after each event, never leads past one that was not handled', async () => {
  const pages: Record<string, ReturnType<typeof page>> = {
    null: page(['e1', 'e2', 'e3'], 'c1'),
    c1: page([], 'c2'),
    c2: page(['e4'], 'c3'),
  }
  const { client } = await startScriptedApi((asked) => pages[`${cursorOf(asked)}`] ?? page([], 'c3'))
  const stream = client.events({ idleMs: 1 })
  const kept: (string | undefined)[] = []
  for await (const _ of stream) if (kept.push(stream.cursor) === 4) break
  expect(kept).toEqual([undefined, undefined, 'c1', 'c3'])
})

test('page by page, with the cursor behind each', async () => {
  const { client } = await startScriptedApi([page(['e1', 'e2'], 'c1'), page([], 'c2'), page(['e3'], 'c3')])
  const pages: [number, string][] = []
  for await (const { data, next_cursor } of client.events({ idleMs: 1 }).pages()) {
    if (pages.push([data.length, next_cursor]) === 2) break
  }
  expect(pages).toEqual([
    [2, 'c1'],
    [1, 'c3'],
  ])
})

test('survives an API that is away: 5xx, cut connections, a proxy without one', async () => {
  const { asked, url } = await startScriptedApi([
    page(['e1'], 'c1'),
    problem(503, 'database_unavailable'),
    'cut',
    { status: 502, type: 'text/html', text: 'Bad gateway' },
    page(['e2'], 'c2'),
  ])
  // Each failure reaches the stream itself.
  const client = new Valija({ url, apiKey: 'vlj_test', maxTries: 1 })
  expect(await read(client.events(), 2)).toEqual(['e1', 'e2'])
  expect(asked.slice(1).map(cursorOf)).toEqual(['c1', 'c1', 'c1', 'c1'])
})

test('ends with an error when waiting does not help', async () => {
  const { client } = await startScriptedApi([page(['e1'], 'c1'), problem(401, 'invalid_key')])
  await expect(read(client.events(), 2)).rejects.toBeInstanceOf(ValijaError)
})

test.each([
  ['between events', page(['e2', 'e3'], 'c2'), ['e1', 'e2']],
  ['while it waits', page([], 'c2'), ['e1']],
  ['while it asks', 'silence' as const, ['e1']],
  ['while the API is away', problem(503, 'internal', { 'retry-after': '60' }), ['e1']],
])('ends by its signal, quietly, %s', async (_name, second, expected) => {
  const abort = new AbortController()
  const { client } = await startScriptedApi((_, count) => {
    if (count === 1) return page(['e1'], 'c1')
    if (expected.length === 1) setTimeout(() => abort.abort(), 30)
    return second
  })
  const ids: string[] = []
  for await (const { id } of client.events({ signal: abort.signal, idleMs: 60_000, timeoutMs: 60_000 })) {
    ids.push(id)
    if (id === 'e2') abort.abort()
  }
  expect(ids).toEqual(expected)
})
