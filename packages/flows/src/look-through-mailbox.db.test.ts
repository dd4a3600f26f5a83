/** One look through a mailbox of a real Dovecot: what becomes of each mail by what it came to, and when something goes wrong. */
import { createIdSource } from '@valija/core'
import { createNetworkGuard, createOpenMailbox, MailboxFailure, type MailboxSession } from '@valija/courier'
import { type Database, openDatabase, readKnownMails } from '@valija/store'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { createDatabase, type TestDatabase } from '../../../tests/support/database.ts'
import { type Dovecot, type DovecotUser, startDovecot } from '../../../tests/support/dovecot.ts'
import { needsProgram } from '../../../tests/support/until.ts'
import { deliveredTo, type LookParts, lookThrough, type MailVerdict } from './look-through-mailbox.ts'

const isAbsent = needsProgram('dovecot')
const nextId = createIdSource(Date.now)

let target: TestDatabase
let database: Database
let dovecot: Dovecot
let user: DovecotUser
let mailbox: { id: string; tenantId: null }

beforeAll(async () => {
  if (isAbsent) return
  target = await createDatabase()
  database = openDatabase({ url: target.url, onError: () => undefined })
  dovecot = await startDovecot()
})
afterAll(async () => {
  if (isAbsent) return
  await dovecot.stop()
  await database.close()
  await target.drop()
})
beforeEach(async () => {
  if (isAbsent) return
  user = await dovecot.addUser()
  mailbox = { id: nextId(), tenantId: null }
  await database.engine.query(
    `INSERT INTO valija.mailboxes (id, name, protocol, host, port, tls, username, password, folder, done_folder)
     VALUES ($1, 'm', 'imap', 'a.test', 993, 'implicit', 'u', '', 'INBOX', 'Done')`,
    [mailbox.id],
  )
})

const open = () =>
  createOpenMailbox({ guard: createNetworkGuard(['127.0.0.0/8']) })({
    ...{ protocol: 'imap', host: '127.0.0.1', port: dovecot.ports.imap, tls: 'none' },
    ...{ user: user.user, password: user.password, folder: 'INBOX', doneFolder: 'Done' },
  })

const subjectOf = (raw: Buffer) => /^Subject: (.*)$/m.exec(raw.toString())?.[1]?.trim() ?? ''

/** A look in which a mail comes to what its subject is given for; of others `other`. */
async function look(
  verdicts: Record<string, MailVerdict | Error>,
  options: {
    unreadable?: Map<string, number>
    stop?: AbortSignal
    with?: (session: MailboxSession) => MailboxSession
  } = {},
) {
  const taken: string[] = []
  const unread: string[] = []
  const parts: LookParts = {
    database,
    take: async ({ raw }) => {
      const subject = subjectOf(raw)
      taken.push(subject)
      const verdict = verdicts[subject] ?? { outcome: 'ignored', reason: 'other' }
      if (verdict instanceof Error) throw verdict
      return verdict
    },
    withRoom: (work) => work(),
    onUnreadable: (uid) => unread.push(uid),
  }
  const session = await open()
  try {
    const signal = options.stop ?? new AbortController().signal
    const looked = await lookThrough(parts, session, mailbox, options.unreadable ?? new Map(), signal)
    return { ...looked, taken, unread }
  } finally {
    await session.finish()
  }
}

const put = async (...subjects: string[]) => {
  for (const subject of subjects) await user.deliver(`From: a@b.test\nSubject: ${subject}\n\nx\n`)
}
const subjectsIn = async (folder: string) =>
  (await user.mails(folder)).map((text) => subjectOf(Buffer.from(text))).sort()
const countsOf = async () =>
  (
    await database.engine.query(
      `SELECT applied_count AS applied, report_count AS reports, ignored_count AS ignored, other_count AS other
       FROM valija.mailboxes WHERE id = $1`,
      [mailbox.id],
    )
  ).rows[0]

describe.skipIf(isAbsent)('a mail', () => {
  test.each<[string, MailVerdict, boolean]>([
    ['applied', { outcome: 'applied' }, true],
    ['kept as a report', { outcome: 'report' }, true],
    ['applied before', { outcome: 'ignored', reason: 'repeated' }, true],
    ['about a mail that is over', { outcome: 'ignored', reason: 'ended' }, true],
    ['a notice of delay', { outcome: 'ignored', reason: 'not_final' }, true],
    ['about our mail of long ago', { outcome: 'unknown', reason: 'gone' }, true],
    ['not signed by us', { outcome: 'unknown', reason: 'foreign' }, false],
    ['with a forged signature', { outcome: 'unknown', reason: 'forged' }, false],
    ['about another tenant’s mail', { outcome: 'unknown', reason: 'other_tenant' }, false],
    ['an auto-reply', { outcome: 'ignored', reason: 'auto_reply' }, false],
    ['a person’s', { outcome: 'ignored', reason: 'other' }, false],
  ])('that is %s: %j', async (_, verdict, isMoved) => {
    await put('it')
    expect(await look({ it: verdict })).toMatchObject({ taken: ['it'], failure: null, hasLater: false })
    expect([await subjectsIn('INBOX'), await subjectsIn('Done')]).toEqual(
      isMoved ? [[], ['it']] : [['it'], []],
    )
    // What stays is known, and not read again.
    expect((await readKnownMails(database.engine, mailbox.id)).size).toBe(isMoved ? 0 : 1)
    expect((await look({})).taken).toEqual([])
    expect(Object.values(await countsOf()).reduce<number>((sum, count) => sum + Number(count), 0)).toBe(1)
  })

  test('whose message is not settled yet stays, and is read again', async () => {
    await put('it')
    expect(await look({ it: { outcome: 'later' } })).toMatchObject({ hasLater: true })
    expect(await subjectsIn('INBOX')).toEqual(['it'])
    expect(await look({ it: { outcome: 'applied' } })).toMatchObject({ taken: ['it'], hasLater: false })
    expect(await subjectsIn('INBOX')).toEqual([])
  })

  test('that cannot be written down stays and is told of; those behind it go on', async () => {
    await put('bad', 'good')
    const { failure, taken } = await look({ bad: new Error('database away'), good: { outcome: 'applied' } })
    expect(failure!.trouble).toEqual({ code: 'internal', detail: 'database away' })
    expect(taken.toSorted()).toEqual(['bad', 'good'])
    expect([await subjectsIn('INBOX'), await subjectsIn('Done')]).toEqual([['bad'], ['good']])
    expect((await look({ bad: { outcome: 'applied' } })).taken).toEqual(['bad'])
  })

  test('is not tried when three before it could not be written down: that is no matter of the mails', async () => {
    const subjects = ['a', 'b', 'c', 'd', 'e']
    await put(...subjects)
    const { taken } = await look(Object.fromEntries(subjects.map((subject) => [subject, new Error('away')])))
    expect(taken).toHaveLength(3)
    expect(await subjectsIn('INBOX')).toEqual(subjects)
  })

  test('that ended its session before comes last, and is left after three times', async () => {
    await put('a', 'b', 'c')
    const session = await open()
    const [first] = await session.list()
    await session.finish()
    const unreadable = new Map([[first!, 1]])
    expect((await look({}, { unreadable })).taken).toHaveLength(3)
    await put('d')
    const last = await open()
    const fourth = (await last.list()).at(-1)!
    await last.finish()
    const { taken, unread } = await look({}, { unreadable: new Map([[fourth, 3]]) })
    expect([taken, unread]).toEqual([[], [fourth]])
    expect(await subjectsIn('INBOX')).toEqual(['a', 'b', 'c', 'd'])
  })

  describe('that cannot be read', () => {
    const running = new AbortController().signal
    /** A server with these mails, of which `bad` ends the session. */
    const endedBy = (code: 'connection_lost' | 'timeout' | 'protocol', uids: string[], onBad = () => {}) => {
      const read = async (uid: string) => {
        if (uid !== 'bad') return { bytes: Buffer.from('\n\n'), isCut: false }
        onBad()
        throw new MailboxFailure(code, 'over')
      }
      const nothing = async () => undefined
      return {
        ...{ canWait: false, list: async () => uids, read, remove: nothing },
        ...{ waitForNews: nothing, finish: nothing, close: () => undefined },
      }
    }
    const lookAt = async (session: MailboxSession, unreadable: Map<string, number>, stop = running) => {
      const parts: LookParts = {
        database,
        take: async () => ({ outcome: 'later' }),
        withRoom: (work) => work(),
        onUnreadable: () => undefined,
      }
      await expect(lookThrough(parts, session, mailbox, unreadable, stop)).rejects.toThrow(MailboxFailure)
      return [...unreadable]
    }

    test('for a connection that is lost or stands still is not to blame, unless another one came over it', async () => {
      for (const code of ['connection_lost', 'timeout'] as const) {
        const unreadable = new Map<string, number>()
        for (let n = 0; n < 4; n += 1)
          expect(await lookAt(endedBy(code, ['bad', 'good']), unreadable)).toEqual([['bad', n]])
      }
    })

    test('for what it is, and at a stop for nothing', async () => {
      const unreadable = new Map<string, number>()
      expect(await lookAt(endedBy('protocol', ['bad']), unreadable)).toEqual([['bad', 1]])
      const controller = new AbortController()
      const cut = endedBy('protocol', ['bad'], () => controller.abort())
      expect(await lookAt(cut, unreadable, controller.signal)).toEqual([['bad', 1]])
    })
  })

  test('is not read any more once all is to stop', async () => {
    await put('a')
    expect((await look({}, { stop: AbortSignal.abort() })).taken).toEqual([])
  })

  test('that is gone is forgotten', async () => {
    await put('a')
    await look({})
    const session = await open()
    await session.remove(await session.list())
    await session.finish()
    await look({})
    expect(await readKnownMails(database.engine, mailbox.id)).toEqual(new Set())
  })
})

test.each<[string, string[]]>([
  [
    'Delivered-To: b-1@x.test\r\nTo: Ann <c@y.test>,\r\n "d, e" <e@z.test>\r\n\r\nTo: f@body.test',
    ['b-1@x.test', 'c@y.test', 'e@z.test'],
  ],
  ['X-Original-To: a@b.test\nReceived: for <no@b.test>\nSubject: x@y\n\n', ['a@b.test']],
  ['no header at all', []],
])('the addresses that %j was delivered to', (raw, addresses) => {
  expect(deliveredTo(Buffer.from(raw))).toEqual(addresses)
})

test('of a thousand addresses fifty are looked at, in no time', () => {
  const before = process.threadCpuUsage()
  const raw = Buffer.from(
    `To: ${Array.from({ length: 5_000 }, (_, i) => `a${i}@b.test`).join(', ')}\n${'x'.repeat(1e6)}@\n\n`,
  )
  expect(deliveredTo(raw)).toHaveLength(50)
  expect(deliveredTo(Buffer.from(`To: ${'@'.repeat(200_000)}${'a'.repeat(200_000)}\n\n`))).toEqual([])
  const { user, system } = process.threadCpuUsage(before)
  expect((user + system) / 1_000).toBeLessThan(2_000)
})
