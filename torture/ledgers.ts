/**
 * The ledgers of a run, as they stand in its folder: a line of JSON for each entry, only ever added to. The verdict reads nothing else.
 *
 *   clients.jsonl    what a client was answered, or that it never learned what became of its request
 *   sink.jsonl       every mail that came whole, with what was answered
 *   webhooks.jsonl   every webhook that came
 *   api.jsonl        the stream of events as the API gives it, and every message as it is at the end
 *   faults.jsonl     what was done to the processes, and how processes ended
 *
 * Times are milliseconds of the machine's monotonic clock, the same for all processes.
 */
import { createReadStream, fsyncSync, openSync, writeSync } from 'node:fs'
import path from 'node:path'
import { createInterface } from 'node:readline'

export interface ClientEntry {
  /** The mail's number in this run. */
  number: number
  /** Idempotency-Key; null for a client that has none, and so cannot repeat. */
  key: string | null
  atMs: number
  /** From the first try to this answer. */
  tookMs: number
  tries: number
  outcome:
    | {
        kind: 'accepted'
        status: number
        id: string
        recipients: { id: string; email: string }[]
        isReplay: boolean
      }
    /** No answer, and no further try: it may be there or not. */
    | { kind: 'unknown'; last: string }
    /** An answer that must not be. */
    | { kind: 'wrong'; status: number; body: string }
}

export interface SinkEntry {
  /** When its final dot was read, and when the answer was written, or failed to be. */
  atMs: number
  answeredMs: number
  /** 250: written; cut: the sink ended the connection instead, on purpose; gone: nobody was left to take the answer. */
  answer: '250' | 'cut' | 'gone'
  site: string
  session: number
  ehlo: string
  from: string
  to: string
  messageId: string
  number: number
  bytes: number
  sha256: string
}

export interface WebhookEntry {
  atMs: number
  id: string
  type: string
  recipientId: string
  isSigned: boolean
}

export interface EventEntry {
  kind: 'event'
  id: string
  type: string
  messageId: string
  recipientId: string
  seq: number
  number: number
  /** It says of an end that the mail may have arrived all the same. */
  isUncertain: boolean
}

export interface MessageEntry {
  kind: 'message'
  id: string
  number: number
  rfcMessageId: string
  recipients: { id: string; email: string; status: string; attempts: number }[]
  /** Attempts that ended uncertain, by recipient; read where the sink makes one ask. */
  uncertain?: Record<string, number>
  /** Of its bytes as the API shows them; asked for some. */
  sha256?: string
}

export interface FaultEntry {
  kind: 'kill' | 'pause' | 'flush' | 'point' | 'restart' | 'exit'
  victim: string
  /** Name of the process' life, for a worker also its EHLO name; empty for stores. */
  life: string
  atMs: number
  /** When it was up again, or went on. */
  untilMs: number
  detail: string
}

export interface Ledger<Entry> {
  add(entry: Entry): void
  /** Makes durable what was added. */
  sync(): void
}

export const ledgerFiles = {
  clients: 'clients.jsonl',
  sink: 'sink.jsonl',
  webhooks: 'webhooks.jsonl',
  api: 'api.jsonl',
  faults: 'faults.jsonl',
} as const

export function openLedger<Entry>(file: string): Ledger<Entry> {
  const handle = openSync(file, 'a')
  return {
    add: (entry) => {
      writeSync(handle, `${JSON.stringify(entry)}\n`)
    },
    sync: () => fsyncSync(handle),
  }
}

export async function readLedger<Entry>(folder: string, name: keyof typeof ledgerFiles): Promise<Entry[]> {
  const entries: Entry[] = []
  const lines = createInterface({ input: createReadStream(path.join(folder, ledgerFiles[name])) })
  for await (const line of lines) entries.push(JSON.parse(line) as Entry)
  return entries
}
