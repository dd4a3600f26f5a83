/**
 * The load: posts so many mails a second whatever becomes of them, each to one of the API processes. A client with an Idempotency-Key
 * repeats its request at either of them until it has an answer; one without does not, for it could send twice.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { monotonicMs } from '../bench/program.ts'
import type { ClientEntry, Ledger } from './ledgers.ts'
import { type Mail, type Mode, modeOf } from './mails.ts'

export interface Load {
  /** Goes on until stopped. */
  start(): void
  stop(): void
  /** Resolves when every request under way has its answer, or is given up. */
  drain(): Promise<void>
  /** Makes its ledger durable. */
  sync(): void
  readonly posted: number
  /** When it was started, each time. */
  readonly startedAtMs: readonly number[]
  /** Messages and recipients. */
  readonly accepted: { messages: number; recipients: number }
}

export interface LoadOptions {
  urls: readonly string[]
  apiKeys: Readonly<Record<Mode, string>>
  rate: number
  /** Requests under way at most; what is due beyond is posted later. */
  clients: number
  makeMail: (number: number) => Mail
  ledger: Ledger<ClientEntry>
}

const tickMs = 50
const requestTimeoutMs = 15_000
/** A client that has no answer by then never learns. */
const patienceMs = 180_000

export function createLoad({ urls, apiKeys, rate, clients, makeMail, ledger }: LoadOptions): Load {
  const underWay = new Set<Promise<void>>()
  let posted = 0
  const accepted = { messages: 0, recipients: 0 }
  let due = 0
  let timer: NodeJS.Timeout | undefined

  const tell = ({ number, key }: Mail, startedMs: number, tries: number, outcome: Outcome) => {
    const atMs = monotonicMs()
    ledger.add({ number, key, atMs, tookMs: atMs - startedMs, tries, outcome })
  }
  const post = async (mail: Mail): Promise<void> => {
    const startedMs = monotonicMs()
    const text = JSON.stringify(mail.body)
    const apiKey = apiKeys[modeOf(mail.number)]
    for (let tries = 1; ; tries += 1) {
      // By turns, so that a repetition meets the other process.
      const url = urls[(mail.number + tries) % urls.length] ?? ''
      const result = await postOnce(url, apiKey, mail.key, text)
      const outcome = result.kind === 'again' ? giveUp(mail, startedMs, result.last) : result
      if (outcome !== null) {
        tell(mail, startedMs, tries, outcome)
        if (outcome.kind !== 'accepted') return
        accepted.messages += 1
        accepted.recipients += outcome.recipients.length
        if (isAskedAgain(mail)) {
          const again = await postOnce(url, apiKey, mail.key, text)
          if (again.kind !== 'again') tell(mail, startedMs, tries + 1, again)
        }
        return
      }
      await delay(Math.min(1_000, 100 * tries))
    }
  }
  const startedAtMs: number[] = []
  const tick = () => {
    due += (rate * tickMs) / 1000
    for (; due >= 1 && underWay.size < clients; due -= 1) {
      posted += 1
      const work = post(makeMail(posted)).finally(() => underWay.delete(work))
      underWay.add(work)
    }
    // What the API is behind by is not caught up with in one blow.
    due = Math.min(due, rate)
  }
  return {
    start: () => {
      startedAtMs.push(monotonicMs())
      timer = setInterval(tick, tickMs)
    },
    stop: () => clearInterval(timer),
    drain: async () => {
      while (underWay.size > 0) await Promise.all(underWay)
    },
    sync: () => ledger.sync(),
    get posted() {
      return posted
    },
    startedAtMs,
    accepted,
  }
}

/** Some that have their answer ask once more: it must be the same. */
const isAskedAgain = ({ number, key }: Mail) => key !== null && number % 40 === 0

type Outcome = ClientEntry['outcome']

/** Null: once more. */
function giveUp(mail: Mail, startedMs: number, last: string): Outcome | null {
  const isOver = mail.key === null || monotonicMs() - startedMs > patienceMs
  return isOver ? { kind: 'unknown', last } : null
}

async function postOnce(
  url: string,
  apiKey: string,
  key: string | null,
  body: string,
): Promise<Outcome | { kind: 'again'; last: string }> {
  try {
    const response = await fetch(`${url}/send`, {
      method: 'POST',
      signal: AbortSignal.timeout(requestTimeoutMs),
      headers: {
        authorization: `Bearer ${apiKey}`,
        'content-type': 'application/json',
        ...(key !== null && { 'idempotency-key': key }),
      },
      body,
    })
    const text = await response.text()
    return judge(response, text)
  } catch (error) {
    const { cause, name } = error as Error & { cause?: { code?: string } }
    return { kind: 'again', last: cause?.code ?? name }
  }
}

function judge({ status, headers }: Response, text: string): Outcome | { kind: 'again'; last: string } {
  if (status >= 200 && status < 300) {
    const { id, recipients } = JSON.parse(text)
    return {
      kind: 'accepted',
      status,
      id,
      recipients: pick(recipients),
      isReplay: headers.has('idempotency-replayed'),
    }
  }
  const isBusy = status === 409 && text.includes('idempotency_in_progress')
  // An answer of 503 says when to ask again, and so do the others that may be repeated.
  if ((status === 503 || status === 429 || isBusy) && headers.has('retry-after')) {
    return { kind: 'again', last: `${status}` }
  }
  return { kind: 'wrong', status, body: text.slice(0, 2_000) }
}

const pick = (recipients: { id: string; email: string }[]) =>
  recipients.map(({ id, email }) => ({ id, email }))
