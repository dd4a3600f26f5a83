/** Mail that keeps coming while something is done to the installation, and what became of it. */
import { setTimeout as delay } from 'node:timers/promises'
import { client } from './http.ts'
import { allEnded, post } from './message-life.ts'
import type { SmtpPeer } from './smtp-peer.ts'
import type { Valija } from './valija.ts'

export type SteadyMail = {
  /** Recipients of what was answered 202 until now. */
  readonly accepted: string[]
  /** Ends the posting and waits for the end of every mail; fails when one was lost or came twice. */
  untilAllArrivedOnce: (timeoutMs?: number) => Promise<{ count: number; longestMs: number }>
}

/** Posts one mail after another, `everyMs` apart, to all API processes in turn; every one must be answered 202. */
export function keepPosting(valija: Valija, peer: SmtpPeer, name: string, everyMs = 50): SteadyMail {
  const calls = valija.urls.map((url) => client(url, valija.tenantKey))
  const accepted: string[] = []
  const ids: string[] = []
  let isStopped = false
  const posting = (async () => {
    for (let index = 0; !isStopped; index++) {
      const to = `${name}${index}@steady.test`
      ids.push(await post(calls[index % calls.length]!, valija.mail({ to })))
      accepted.push(to)
      await delay(everyMs)
    }
  })()
  posting.catch(() => undefined) // told by untilAllArrivedOnce
  return {
    accepted,
    untilAllArrivedOnce: async (timeoutMs = 60_000) => {
      isStopped = true
      await posting
      const messages = await allEnded(valija.api, ids, timeoutMs)
      const wrong = messages.filter(({ status }) => status !== 'delivered')
      if (wrong.length > 0) throw new Error(`not delivered: ${JSON.stringify(wrong.slice(0, 3))}`)
      const arrived = peer.mails.flatMap(({ to }) => to).filter((to) => to.startsWith(name))
      const [once, all] = [new Set(arrived).size, accepted.length]
      if (once !== all || arrived.length !== all)
        throw new Error(`${all} accepted, ${arrived.length} arrived, ${once} of them different`)
      const [longest] = await valija.sql<{ ms: number }>(
        `SELECT (extract(epoch FROM max(r.delivered_at - m.created_at)) * 1000)::float8 AS ms
         FROM valija.recipients AS r JOIN valija.messages AS m ON m.id = r.message_id WHERE r.email = ANY ($1)`,
        [accepted],
      )
      return { count: all, longestMs: Math.round(longest?.ms ?? 0) }
    },
  }
}
