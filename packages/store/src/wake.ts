/**
 * Wake-ups between processes: "there is something for the dispatcher", "… for the webhooks", "a key was revoked".
 *
 * LISTEN/NOTIFY on connections of its own: a NOTIFY inside the transaction that made the news would serialise all commits
 * (PostgreSQL takes a cluster-wide lock at the commit of a notifying transaction), so it is sent after the commit, and calls that come
 * close together become one. A wake-up may be lost with its connection; every sleeper has a safety sweep besides.
 */
import pg from 'pg'
import { livenessOptions, watchConnection } from './watch-connection.ts'

export const wakeTopics = [
  'dispatch',
  'webhooks',
  'inbox',
  'keys',
  'routes',
  'mailboxes',
  'shaping',
  'clock',
  'recall',
  'deadlines',
  'erasures',
] as const
export type WakeTopic = (typeof wakeTopics)[number]

export interface Wake {
  /** Tells all processes, this one included; `payload` is handed to the listeners. Never throws, never blocks. */
  send(topic: WakeTopic, payload?: string): void
  /** Calls `listener` on every wake-up of the topic, and once after a lost connection came back. Returns its removal. */
  on(topic: WakeTopic, listener: (payload: string) => void): () => void
  close(): Promise<void>
}

const channel = 'valija_wake'
const reconnectMs = 500
/** A wake-up that is late by more than this is of no use: the sleepers have timers. */
const answerTimeoutMs = 5_000

/** By these connections the processes that are there are known; behind it stands what `openWake` was given. */
export const listenerName = 'valija listen'

/** @param mark what this process lets others know of itself, in a few letters (PostgreSQL keeps 63 of the whole name) */
export async function openWake(
  databaseUrl: string,
  onError: (error: Error) => void,
  mark = '',
): Promise<Wake> {
  const listeners = new Map<WakeTopic, Set<(payload: string) => void>>()
  const emit = (topic: WakeTopic, payload: string) => {
    for (const listener of listeners.get(topic) ?? []) listener(payload)
  }
  const ear = createEar(databaseUrl, `${listenerName} ${mark}`.trim(), onError, emit)
  await ear.connect()
  const pool = new pg.Pool({
    connectionString: databaseUrl,
    max: 1,
    application_name: 'valija wake',
    options: '-c synchronous_commit=off',
    ...livenessOptions,
    query_timeout: answerTimeoutMs,
  })
  pool.on('error', onError)
  pool.on('connect', watchConnection)
  const mouth = createMouth(pool, onError)
  return {
    send: mouth.send,
    on: (topic, listener) => {
      const set = listeners.get(topic) ?? new Set()
      listeners.set(topic, set.add(listener))
      return () => set.delete(listener)
    },
    close: async () => {
      await mouth.flush()
      await ear.close()
      await pool.end()
    },
  }
}

/** The sending side: one NOTIFY under way at a time; what comes meanwhile goes out together with the next. */
function createMouth(pool: pg.Pool, onError: (error: Error) => void) {
  const waiting = new Set<string>()
  let sending: Promise<void> | null = null
  const drain = async () => {
    while (waiting.size > 0) {
      const payloads = [...waiting]
      waiting.clear()
      await pool
        .query({
          name: 'wake',
          text: `SELECT pg_notify('${channel}', payload) FROM unnest($1::text[]) AS payload`,
          values: [payloads],
        })
        .catch(onError)
    }
    sending = null
  }
  return {
    send: (topic: WakeTopic, payload = '') => {
      waiting.add(`${topic}:${payload}`)
      sending ??= drain()
    },
    flush: async () => {
      await sending
    },
  }
}

/** The listening side: one connection, replaced when it breaks. */
function createEar(
  databaseUrl: string,
  name: string,
  onError: (error: Error) => void,
  emit: (topic: WakeTopic, payload: string) => void,
) {
  let client: pg.Client | null = null
  let isClosed = false
  let retry: NodeJS.Timeout | undefined

  const connect = async () => {
    const next = new pg.Client({
      connectionString: databaseUrl,
      application_name: name,
      ...livenessOptions,
    })
    watchConnection(next)
    next.on('error', onError)
    next.on('end', () => {
      if (isClosed || client !== next) return
      retry = setTimeout(() => void reconnect(), reconnectMs)
    })
    next.on('notification', (message) => {
      const [topic = '', payload = ''] = split(message.payload ?? '')
      if ((wakeTopics as readonly string[]).includes(topic)) emit(topic as WakeTopic, payload)
    })
    try {
      await next.connect()
      await next.query(`LISTEN ${channel}`)
    } catch (error) {
      await next.end().catch(() => undefined)
      throw error
    }
    if (isClosed) await next.end()
    else client = next
  }
  const reconnect = async () => {
    if (isClosed) return
    try {
      await connect()
      // Whatever was said meanwhile was missed.
      for (const topic of wakeTopics) emit(topic, '')
    } catch (error) {
      onError(error as Error)
      retry = setTimeout(() => void reconnect(), reconnectMs)
    }
  }
  return {
    connect,
    close: async () => {
      isClosed = true
      clearTimeout(retry)
      await client?.end()
    },
  }
}

function split(text: string): [string, string] {
  const colon = text.indexOf(':')
  return colon < 0 ? [text, ''] : [text.slice(0, colon), text.slice(colon + 1)]
}
