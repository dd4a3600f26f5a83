/**
 * Readiness: whether a send would succeed now, and what is degraded. A queue that is away is degraded, not down: mails are
 * accepted into PostgreSQL, and delivered by one worker instead of all. With `mx`, see also mx-readiness.ts.
 */
import type { Database, HintQueue } from '@valija/store'
import type { Readiness } from './dependencies.ts'
import { createMxReadiness, type MxReadinessParts } from './mx-readiness.ts'

export interface ReadinessParts {
  database: Database
  queue: HintQueue
  delivery: string
  /** What delivery to mail exchangers cannot do without. */
  mx: MxReadinessParts
}

const databaseAnswerMs = 2_000

export function createReadiness({ database, queue, delivery, mx }: ReadinessParts): () => Promise<Readiness> {
  const lookAtMx = delivery === 'mx' ? createMxReadiness(mx) : null
  return async () => {
    const [databaseFault, further] = await Promise.all([askDatabase(database), lookAtMx?.()])
    const queueDetail = queue.isUp
      ? (queue.warning ?? `The queue (${queue.backend}) answers.`)
      : `The queue (${queue.backend}) is away; mail is accepted, and one worker delivers alone until it answers. ${queue.lastError?.message ?? ''}`.trim()
    return {
      isReady: databaseFault === null && (further?.isReady ?? true),
      checks: [
        { name: 'database', isOk: databaseFault === null, detail: databaseFault ?? 'PostgreSQL answers.' },
        { name: 'queue', isOk: queue.isUp && queue.warning === null, detail: queueDetail },
        { name: 'delivery', isOk: true, detail: deliveryDetails[delivery] ?? delivery },
        ...(further?.checks ?? []),
      ],
    }
  }
}

const deliveryDetails: Record<string, string> = {
  capture: 'capture: mail is kept in /inbox, unless it or its key names a route.',
  smarthost: 'smarthost: mail is handed to the configured relay.',
  mx: "mx: mail is handed to the recipients' own servers.",
}

/** @returns null, or why it cannot be used */
async function askDatabase(database: Database): Promise<string | null> {
  let timer: NodeJS.Timeout | undefined
  const tooLong = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${databaseAnswerMs} ms`)), databaseAnswerMs)
  })
  try {
    await Promise.race([database.engine.query('SELECT 1'), tooLong])
    return null
  } catch (error) {
    return `PostgreSQL cannot be used: ${(error as Error).message}`
  } finally {
    clearTimeout(timer)
  }
}
