/**
 * The endpoint of a run, a process of its own: takes webhooks, now and then answers 500 or late, and writes each into its ledger.
 *
 *   node torture/webhook-sink.ts <port> <ledger>      (started by world.ts; asked over IPC)
 */
import http from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'
import { answerQuestions, monotonicMs } from '../bench/program.ts'
import { isSigned } from '../tests/support/webhook-receiver.ts'
import { openLedger, type WebhookEntry } from './ledgers.ts'

const [portText = '', ledgerFile = ''] = process.argv.slice(2)
const ledger = openLedger<WebhookEntry>(ledgerFile)
const told = new Set<string>()
/** Of the endpoint at each path. */
const secrets = new Map<string, string>()

const server = http.createServer(async (request, response) => {
  const chunks: Buffer[] = []
  try {
    for await (const chunk of request) chunks.push(chunk as Buffer)
  } catch {
    return // whoever told us was killed in the middle
  }
  const text = Buffer.concat(chunks).toString('utf8')
  const event = JSON.parse(text) as { id: string; type: string; data: { recipient_id?: string } }
  ledger.add({
    atMs: monotonicMs(),
    id: `${request.headers['webhook-id']}`,
    type: event.type,
    recipientId: event.data.recipient_id ?? '',
    isSigned: isSigned(request.headers, text, secrets.get(request.url ?? '') ?? ''),
  })
  const mood = told.has(event.id) ? 1 : Math.random()
  told.add(event.id)
  if (mood < 0.02) await delay(mood * 50_000)
  response.writeHead(mood > 0.99 && mood < 1 ? 500 : 200).end()
})
const listening = Promise.withResolvers<void>()
server.listen(Number(portText), '127.0.0.1', listening.resolve).once('error', listening.reject)
answerQuestions({
  ready: () => listening.promise,
  secret: ({ path, secret }: { path: string; secret: string }) => {
    secrets.set(path, secret)
  },
  sync: () => ledger.sync(),
})
