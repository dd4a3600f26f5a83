/**
 * 100,000 requests of each kind, made from the API's own description: valid, nearly valid, and hostile. None is answered with a 5xx or with a
 * status that is not documented, none crashes a process, and what was accepted is worked off.
 */
import type { OutgoingHttpHeaders } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { randomFrom } from './support/bounce-mails.ts'
import {
  type ApiDescription,
  createSender,
  describedBy,
  type GeneratedRequest,
  type GivenAnswer,
  generate,
  type KnownIds,
  kinds,
  type RequestKind,
  usualHints,
} from './support/generated-requests.ts'
import { scaled, timeFor } from './support/scale.ts'
import { until } from './support/until.ts'
import { SENDER_DOMAIN, startValija, type Valija } from './support/valija.ts'

/** Requests at a time. */
const CLIENTS = 8
/** A server answers malformed requests before it knows whom they are for, whatever the route documents. */
const OF_THE_SERVER = new Set([400, 401, 404, 405, 406, 408, 413, 414, 415, 417, 431])

let valija: Valija
let description: ApiDescription
let sender: ReturnType<typeof createSender>
const ids: KnownIds = new Map()
/** The tenant that asks, and its key: they are to be there to the end, as they are. */
const kept = new Set<string | undefined>()

beforeAll(async () => {
  valija = await startValija({
    queue: 'postgres',
    delivery: 'capture',
    // Nobody answers there, so what is looked up ends at once and reaches nobody.
    env: { VALIJA_DNS_SERVERS: '127.0.0.1:9' },
  })
  const keys = await valija.api<{ data: { id: string }[] }>('GET', '/keys')
  for (const id of [valija.tenantId, ...keys.json.data.map((key) => key.id)]) kept.add(id)
  const { json } = await valija.api<Parameters<typeof describedBy>[0]>('GET', '/openapi.json')
  description = describedBy(json, usualHints(SENDER_DOMAIN))
  sender = createSender(valija.url, CLIENTS)
})

afterAll(async () => {
  sender?.close()
  await valija?.stop()
})

const isOperators = (path: string): boolean => /^\/(?:tenants|source-ips|tls-report|queue)\b/.test(path)

/** The operator at its own routes, and acting for the tenant now and then; else the tenant. */
function callerOf({ operation }: GeneratedRequest, random: () => number): OutgoingHttpHeaders {
  const asOperator = { authorization: `Bearer ${valija.adminKey}` }
  if (isOperators(operation.path)) return asOperator
  if (random() < 0.3) return { ...asOperator, 'valija-tenant': valija.tenantId }
  return { authorization: `Bearer ${valija.tenantKey}` }
}

/** Ids of what was made or listed, to be asked for later. */
function remember({ operation }: GeneratedRequest, { status, type, text }: GivenAnswer): void {
  if (status >= 300 || operation.path.includes('{') || !type.startsWith('application/json')) return
  const first = operation.path.split('/')[1] ?? ''
  const kind = first === 'send' ? 'messages' : first
  const { id, data = [] } = JSON.parse(text) as { id?: string; data?: { id?: string }[] }
  const found = [id, ...data.map((entry) => entry.id)].filter((one) => one && !kept.has(one))
  const known = ids.get(kind) ?? []
  ids.set(kind, [...known, ...(found as string[])].slice(-200))
}

/** A line with octets that HTTP does not allow, on a connection that had answers before, is answered by its end. */
const mayBeCut = ({ target }: GeneratedRequest): boolean => /[^\u0021-\u007e]/.test(target)

/** 5xx are documented, and nothing here gives cause for one. */
const isFine = (kind: RequestKind, given: GeneratedRequest, { status }: GivenAnswer): boolean =>
  (status < 500 && given.operation.statuses.has(status)) ||
  (kind === 'hostile' && (OF_THE_SERVER.has(status) || (status === 0 && mayBeCut(given))))

/** What a busy machine alone gives cause for: a client repeats it. */
const isOfLoad = ({ status, text }: GivenAnswer): boolean =>
  status === 503 && /"code":"(?:overloaded|database_unavailable)"/.test(text)

/** As long as a Retry-After of load says at most. */
const REPEAT_AFTER_MS = 5_000
/** What is more than the odd request is no matter of load. */
const REPEATED_AT_MOST = 3

const shown = ({ method, target, headers, body }: GeneratedRequest, { status, text }: GivenAnswer): string =>
  `${method} ${target.slice(0, 300)} ${JSON.stringify(headers).slice(0, 300)} ${String(body).slice(0, 600)}\n→ ${status} ${text.slice(0, 400)}`

test.each(kinds)(
  '%s requests: no 5xx, nothing undocumented, no crash',
  {
    timeout: timeFor(300_000),
  },
  async (kind) => {
    const count = scaled(100_000, 1_000)
    const faults: string[] = []
    let accepted = 0
    let repeated = 0
    let next = 0
    const ask = async () => {
      while (next < count && faults.length < 10) {
        const seed = next++
        const random = randomFrom(seed * kinds.length + kinds.indexOf(kind))
        const given = generate(description, kind, random, ids)
        const caller = callerOf(given, random)
        let answer = await sender.send(given, caller)
        if (isOfLoad(answer)) {
          repeated += 1
          process.stdout.write(`repeated, seed ${seed}: ${shown(given, answer)}\n`)
          await delay(REPEAT_AFTER_MS)
          answer = await sender.send(given, caller)
        }
        if (!isFine(kind, given, answer)) faults.push(`seed ${seed}: ${shown(given, answer)}`)
        if (answer.status >= 200 && answer.status < 300) accepted += 1
        remember(given, answer)
      }
    }
    await Promise.all(Array.from({ length: CLIENTS }, ask))
    expect(faults).toEqual([])
    expect(repeated).toBeLessThanOrEqual(REPEATED_AT_MOST)
    // Requests that come no further than the first look would show nothing.
    if (kind === 'valid') expect(accepted).toBeGreaterThan(count * 0.5)
    else if (kind === 'nearly valid') expect(accepted).toBeGreaterThan(count * 0.1)
    expect((await valija.api('GET', '/healthz')).status).toBe(200)
  },
)

test('what was accepted is worked off, and nobody complained of something unexpected', {
  timeout: timeFor(300_000),
}, async () => {
  await until(
    'nothing due is left',
    async () => {
      const [row] = await valija.sql<{ count: number }>(
        `SELECT count(*)::int FROM valija.deliveries WHERE due_at <= now() AND state = 'waiting'`,
      )
      return row?.count === 0
    },
    timeFor(60_000),
  )
  const lines = [...valija.apis, ...valija.workers].flatMap((process) => process.lines)
  expect(lines.filter((line) => /"level":"?(?:50|60|error|fatal)|unhandled|uncaught/i.test(line))).toEqual([])
})
