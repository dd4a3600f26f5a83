/**
 * A program that hands mail in by SMTP at one of two processes, over a session that it keeps, and goes to the other one with whatever
 * was not taken: the connection is refused, ends without a reply, or is answered 4xx (421 of a process that stops).
 */
import { setTimeout as delay } from 'node:timers/promises'
import type { SmtpClient } from './smtp-client.ts'
import { handOver, mailWith, openLoggedIn } from './submission.ts'
import { PATIENCE_MS } from './until.ts'

export type Submitter = {
  /** Hands a mail in until it is taken or refused for good; gives the last reply. */
  send: (to: string) => Promise<string>
  end: () => void
}

/** Why mails were handed in again, over all submitters that share it. */
export type Repeats = {
  /** Nobody listened, or nobody greeted and logged in. */
  unreached: number
  /** Answered 4xx. */
  putOff: number
  /** Closed without a word. */
  cut: number
  /** Had been taken already, and the sender not told: of a process that is asked to stop there must be none. */
  takenUntold: number
}

/** Between two tries, so that a process that is away is not asked as fast as it can refuse. */
const PAUSE_MS = 20

/** @param ports where the processes listen now; one that is started anew may have another place */
export function createSubmitter(ports: readonly number[], key: string, repeats: Repeats): Submitter {
  let session: SmtpClient | null = null
  let turn = 0
  const open = async (): Promise<SmtpClient | null> => {
    turn += 1
    return openLoggedIn(ports[turn % ports.length]!, key).catch(() => null)
  }
  const end = () => {
    session?.end()
    session = null
  }
  return {
    end,
    send: async (to) => {
      const raw = mailWith(`X-Valija-Idempotency-Key: ${to}\r\n`)
      for (const endMs = performance.now() + PATIENCE_MS; performance.now() < endMs; await delay(PAUSE_MS)) {
        session ??= await open()
        if (session === null) {
          repeats.unreached += 1
          continue
        }
        const reply = await handOver(session, raw, { to })
        if (/^[25]/.test(reply)) {
          if (reply.includes('Accepted before')) repeats.takenUntold += 1
          return reply
        }
        repeats[reply === 'closed' ? 'cut' : 'putOff'] += 1
        end()
      }
      throw new Error(`${to} was not taken within ${PATIENCE_MS} ms`)
    },
  }
}
