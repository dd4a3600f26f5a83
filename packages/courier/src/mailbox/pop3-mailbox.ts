/**
 * A mailbox by POP3 (RFC 1939, RFC 2449, STLS of RFC 2595), spoken by ourselves: what is needed are eight commands, of mails the octets
 * as they are, and a bound on everything. What is there is what was there at the login; what is to be deleted is deleted by QUIT.
 */
import type { NetworkGuard } from '../network-guard.ts'
import {
  MailboxFailure,
  type MailboxLimits,
  type MailboxSession,
  type MailboxTarget,
  noGreeting,
} from './mailbox.ts'
import { connectMailbox, secure } from './mailbox-connection.ts'
import { type Pop3Answer, Pop3Dialogue } from './pop3-dialogue.ts'

/** @throws {MailboxFailure} */
export async function openPop3(
  target: MailboxTarget,
  guard: NetworkGuard,
  limits: MailboxLimits,
): Promise<MailboxSession> {
  const { socket } = await connectMailbox(target, guard, limits.connectMs)
  const dialogue = new Pop3Dialogue(socket)
  try {
    const hasSpoken = await dialogue.hasSpokenWithin(limits.openMs)
    if (!hasSpoken) throw noGreeting('POP3', limits.openMs)
    await dialogue.within(limits.openMs, 'the login', () => logIn(dialogue, target, limits))
    return createSession(dialogue, limits)
  } catch (error) {
    dialogue.close()
    throw error
  }
}

async function logIn(dialogue: Pop3Dialogue, target: MailboxTarget, limits: MailboxLimits): Promise<void> {
  const greeting = await dialogue.readAnswer()
  if (!greeting.isOk) throw new MailboxFailure('busy', greeting.text || 'the server refuses connections')
  if (target.tls === 'starttls') await startTls(dialogue, target, limits)
  const user = await dialogue.ask(`USER ${target.user}`)
  if (!user.isOk) throw loginFailure(user)
  const password = await dialogue.ask(`PASS ${target.password}`)
  if (!password.isOk) throw loginFailure(password)
}

async function startTls(dialogue: Pop3Dialogue, target: MailboxTarget, limits: MailboxLimits): Promise<void> {
  const answer = await dialogue.ask('STLS')
  if (!answer.isOk) throw new MailboxFailure('tls_failed', `the server does not do STLS: ${answer.text}`)
  // Said by somebody on the way before the encryption began (RFC 2595 section 4).
  if (dialogue.hasUnread) throw new MailboxFailure('tls_failed', 'octets came before the TLS handshake')
  dialogue.use(await secure(dialogue.release(), target, limits.openMs))
}

/** RFC 2449 section 8.1, RFC 3206 section 4: who refuses says why in brackets, or in words of its own. */
function loginFailure({ text }: Pop3Answer): MailboxFailure {
  const isPassing = /^\[(IN-USE|LOGIN-DELAY|SYS\/TEMP)/i.test(text) || /\b(lock|in use|busy)/i.test(text)
  return new MailboxFailure(isPassing ? 'busy' : 'login_refused', text)
}

function createSession(dialogue: Pop3Dialogue, limits: MailboxLimits): MailboxSession {
  let numbers: ReadonlyMap<string, number> | null = null
  const numbersOf = async () => {
    numbers ??= await dialogue.within(limits.listMs, 'UIDL', () => readUniqueIds(dialogue, limits.maxMails))
    return numbers
  }
  const removed = new Set<string>()
  return {
    canWait: false,
    list: async () => [...(await numbersOf()).keys()].filter((id) => !removed.has(id)),
    read: async (id) => {
      const number = (await numbersOf()).get(id)
      if (number === undefined || removed.has(id)) return null
      return dialogue.within(limits.readMs, 'RETR', async () => {
        const { isOk } = await dialogue.ask(`RETR ${number}`)
        return isOk ? dialogue.readBody(limits.maxMailBytes) : null
      })
    },
    remove: async (ids) => {
      const present = await numbersOf()
      await dialogue.within(limits.removeMs, 'DELE', async () => {
        for (const id of ids) {
          const number = present.get(id)
          if (number === undefined || removed.has(id)) continue
          const { isOk, text } = await dialogue.ask(`DELE ${number}`)
          if (!isOk) throw new MailboxFailure('not_moved', text)
          removed.add(id)
        }
      })
    },
    waitForNews: async () => {
      throw new TypeError('POP3 tells nothing by itself')
    },
    finish: async () => {
      const { isOk, text } = await dialogue.within(limits.finishMs, 'QUIT', () => dialogue.ask('QUIT'))
      dialogue.close()
      // RFC 1939 section 6: some of what was to be deleted is still there.
      if (!isOk) throw new MailboxFailure('not_moved', text)
    },
    close: () => dialogue.close(),
  }
}

async function readUniqueIds(dialogue: Pop3Dialogue, maxMails: number): Promise<ReadonlyMap<string, number>> {
  const answer = await dialogue.ask('UIDL')
  if (!answer.isOk)
    throw new MailboxFailure(
      'protocol',
      `the server does not do UIDL, without which no mail is known again: ${answer.text}`,
    )
  const lines = await dialogue.readLines(maxMails)
  if (lines === 'too_many') throw new MailboxFailure('too_many_mails', `more than ${maxMails}`)
  const numbers = new Map<string, number>()
  for (const line of lines) {
    const [, number, id] = /^(\d{1,9}) ([\x21-\x7e]{1,512})$/.exec(line.trimEnd()) ?? []
    if (id === undefined) throw new MailboxFailure('protocol', `no line of UIDL: ${line}`)
    // Two mails of one name are the same mail twice to some servers: the second is seen when the first is gone.
    if (!numbers.has(id)) numbers.set(id, Number(number))
  }
  return numbers
}
