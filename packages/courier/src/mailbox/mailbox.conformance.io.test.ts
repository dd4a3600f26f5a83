/** The suite that both ways to a mailbox pass, against a real Dovecot: what mailbox.ts promises, and what is told when it cannot be kept. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type CuttingProxy, startCuttingProxy } from '../../../../tests/support/cutting-proxy.ts'
import { type Dovecot, type DovecotUser, startDovecot } from '../../../../tests/support/dovecot.ts'
import { needsProgram, until } from '../../../../tests/support/until.ts'
import { createNetworkGuard } from '../network-guard.ts'
import { MailboxFailure, type MailboxLimits, type MailboxSession, type MailboxTarget } from './mailbox.ts'
import { createOpenMailbox } from './open-mailbox.ts'

const isAbsent = needsProgram('dovecot')
const guard = createNetworkGuard(['127.0.0.0/8'])

let dovecot: Dovecot
const proxies: CuttingProxy[] = []
beforeAll(async () => {
  if (!isAbsent) dovecot = await startDovecot()
})
afterAll(async () => {
  for (const proxy of proxies) await proxy.stop()
  if (!isAbsent) await dovecot.stop()
})

const open = (target: MailboxTarget, limits: Partial<MailboxLimits> = {}) =>
  createOpenMailbox({ guard, limits })(target)

/** What a failure is told as. */
const troubleOf = (work: Promise<unknown>) =>
  work.then(
    () => 'none',
    (error: unknown) => (error instanceof MailboxFailure ? error.trouble.code : error),
  )

const mail = (subject: string, body = 'x\r\n') => `From: a@b.test\r\nSubject: ${subject}\r\n\r\n${body}`

describe.skipIf(isAbsent).each(['imap', 'pop3'] as const)('%s', (protocol) => {
  const isImap = protocol === 'imap'
  const targetOf = ({ user, password }: DovecotUser, fields: Partial<MailboxTarget> = {}): MailboxTarget => ({
    ...{ protocol, user, password, host: 'localhost', tls: 'none', ca: dovecot.ca },
    port: dovecot.ports[protocol],
    folder: isImap ? 'INBOX' : null,
    doneFolder: isImap ? 'Done' : null,
    ...fields,
  })
  const throughProxy = async () => {
    const proxy = await startCuttingProxy(dovecot.ports[protocol])
    proxies.push(proxy)
    return proxy
  }
  const subjects = async (session: MailboxSession, ids: readonly string[]) => {
    const found: string[] = []
    for (const id of ids)
      found.push(/Subject: (.*)\r\n/.exec(`${(await session.read(id))?.bytes}`)?.[1] ?? 'gone')
    return found
  }
  /** Mails of those subjects, in that order. */
  const userWith = async (...names: string[]) => {
    const user = await dovecot.addUser()
    for (const name of names) {
      await user.deliver(mail(name))
      // The order of what comes at once is the server's.
      if (names.length > 1) await session(user, (one) => one.list())
    }
    return user
  }
  const session = async <T>(user: DovecotUser, work: (session: MailboxSession) => Promise<T>): Promise<T> => {
    const opened = await open(targetOf(user))
    try {
      return await work(opened)
    } finally {
      await opened.finish()
    }
  }

  test.each(['implicit', 'starttls', 'none'] as const)('logs in with TLS mode %s', async (tls) => {
    const user = await userWith('a')
    const port = tls === 'implicit' ? dovecot.ports[`${protocol}s`] : dovecot.ports[protocol]
    const opened = await open(targetOf(user, { tls, port }))
    expect(await opened.list()).toHaveLength(1)
    await opened.finish()
  })

  test('gives mails as they are stored, octet by octet, lone dots and long lines included', async () => {
    const body = `.\r\n..\r\n.x\r\n${'y'.repeat(100_000)}\r\n\x80\xff\r\n`
    const user = await dovecot.addUser()
    await user.deliver(mail('octets', body))
    const [found] = await session(user, async (opened) => [await opened.read((await opened.list())[0]!)])
    expect(found).toEqual({ bytes: Buffer.from(mail('octets', body)), isCut: false })
  })

  test('lists the oldest first, by names that stay the same in the next session', async () => {
    const user = await userWith('a', 'b', 'c')
    const first = await session(user, async (opened) => {
      const ids = await opened.list()
      expect(await subjects(opened, ids)).toEqual(['a', 'b', 'c'])
      return ids
    })
    expect(await session(user, (opened) => opened.list())).toEqual(first)
  })

  test('removes what it is told to and nothing else: to the done folder, or for good', async () => {
    const user = await userWith('a', 'b', 'c')
    await session(user, async (opened) => {
      const ids = await opened.list()
      await opened.remove([ids[0]!, ids[2]!])
      expect(await opened.list()).toEqual([ids[1]])
      expect(await opened.read(ids[0]!)).toBeNull()
      // Once more is no error.
      await opened.remove([ids[0]!])
    })
    const left = (await user.mails()).join()
    expect(left).toContain('Subject: b')
    expect(left).not.toMatch(/Subject: [ac]/)
    expect((await user.mails('Done')).length).toBe(isImap ? 2 : 0)
  })

  test('leaves what it only read as unread as it was', async () => {
    const user = await userWith('a')
    await session(user, async (opened) => opened.read((await opened.list())[0]!))
    expect(await user.mails()).toHaveLength(1)
    if (isImap) expect(await user.unseen()).toBe(1)
  })

  test('has other names for all mails after the server has made its UIDs anew, and takes the old ones for gone', async () => {
    const user = await userWith('a', 'b')
    const before = await session(user, (opened) => opened.list())
    await user.forgetUids()
    await session(user, async (opened) => {
      const after = await opened.list()
      expect(after).toHaveLength(2)
      expect(after.filter((id) => before.includes(id))).toEqual([])
      await opened.remove(before)
      expect(await opened.list()).toEqual(after)
      expect(await opened.read(before[0]!)).toBeNull()
    })
    expect(await user.mails()).toHaveLength(2)
  })

  test('cuts a mail that is too long, and goes on', async () => {
    const user = await dovecot.addUser()
    await user.deliver(mail('long', `${'z'.repeat(70)}\r\n`.repeat(5_000)))
    await user.deliver(mail('short'))
    const opened = await open(targetOf(user), { maxMailBytes: 10_000 })
    const mails = [await opened.read((await opened.list())[0]!), await opened.read((await opened.list())[1]!)]
    expect(mails.map((one) => [one!.isCut, one!.bytes.length > 1_000]).sort()).toEqual([
      [false, false],
      [true, true],
    ])
    expect(mails.find((one) => one!.isCut)!.bytes).toHaveLength(10_000)
    await opened.finish()
  })

  test('refuses a mailbox with more mails than may be', async () => {
    const user = await userWith('a', 'b', 'c')
    const opened = await open(targetOf(user), { maxMails: 2 })
    expect(await troubleOf(opened.list())).toBe('too_many_mails')
    opened.close()
  })

  test('tells a refused login from a server that is not there, and from an address that is not allowed', async () => {
    const user = await userWith()
    expect(await troubleOf(open(targetOf(user, { password: 'wrong' })))).toBe('login_refused')
    expect(await troubleOf(open(targetOf(user, { port: 9 })))).toBe('unreachable')
    expect(await troubleOf(open(targetOf(user, { host: 'no-such-host.invalid' })))).toBe('name_unavailable')
    const strict = createOpenMailbox({ guard: createNetworkGuard([]) })
    for (const host of ['localhost', '127.0.0.1', '::ffff:127.0.0.1'])
      expect(await troubleOf(strict(targetOf(user, { host })))).toBe('address_refused')
  })

  test.each(['implicit', 'starttls'] as const)(
    'sends no login over TLS (%s) to a certificate of nobody’s, or of another name',
    async (tls) => {
      const user = await userWith()
      const port = tls === 'implicit' ? dovecot.ports[`${protocol}s`] : dovecot.ports[protocol]
      const { ca: _, ...unknownAuthority } = targetOf(user, { tls, port })
      expect(await troubleOf(open(unknownAuthority))).toBe('tls_failed')
      expect(await troubleOf(open(targetOf(user, { tls, port, host: '127.0.0.1' })))).toBe('tls_failed')
      expect(dovecot.log().join('\n')).not.toContain(`user=<${user.user}>`)
    },
  )

  test('tells another service, and plaintext where TLS is expected', async () => {
    const user = await userWith()
    const other = isImap ? dovecot.ports.pop3 : dovecot.ports.imap
    expect(await troubleOf(open(targetOf(user, { port: other }), { openMs: 500 }))).toMatch(
      /^(?:protocol|no_greeting)$/,
    )
    const { [protocol]: plain } = dovecot.ports
    expect(await troubleOf(open(targetOf(user, { port: plain, tls: 'implicit' })))).toBe('tls_failed')
  })

  test('a connection that is lost in the middle of a mail gives no half mail; the next session has it whole', async () => {
    const user = await dovecot.addUser()
    await user.deliver(
      mail('whole', `${'first half '.repeat(1_000)}MIDDLE${' second half'.repeat(1_000)}\r\n`),
    )
    const proxy = await throughProxy()
    proxy.cutAfter('MIDDLE')
    const opened = await open(targetOf(user, { port: proxy.port }))
    const [id] = await opened.list()
    expect(await troubleOf(opened.read(id!))).toBe('connection_lost')
    // What is dead says so, and does not hang.
    expect(await troubleOf(opened.read(id!))).toBe('connection_lost')
    opened.close()
    proxy.cutAfter(null)
    await session(user, async (next) => {
      expect(await next.list()).toEqual([id])
      expect((await next.read(id!))!.bytes.toString()).toContain('second half\r\n')
    })
  })

  test('a connection that is lost before the removal leaves the mail where it is', async () => {
    const user = await userWith('a')
    const proxy = await throughProxy()
    const opened = await open(targetOf(user, { port: proxy.port }))
    const ids = await opened.list()
    proxy.cutBefore(isImap ? 'UID MOVE' : 'QUIT')
    const removing = opened.remove(ids).then(() => opened.finish())
    expect(await troubleOf(removing)).toBe('connection_lost')
    expect(await session(user, (next) => next.list())).toEqual(ids)
  })

  test('a server that goes mute is given up in time', async () => {
    const user = await userWith('a')
    const opened = await open(targetOf(user), { readMs: 300 })
    const [id] = await opened.list()
    dovecot.pause()
    try {
      const begun = performance.now()
      // The process that has this session is another than the one that is stopped, so all are.
      expect(await troubleOf(opened.read(id!))).toBe('timeout')
      expect(performance.now() - begun).toBeLessThan(10_000)
    } finally {
      dovecot.resume()
    }
  })
})

describe.skipIf(isAbsent)('imap', () => {
  const targetOf = ({ user, password }: DovecotUser, fields: Partial<MailboxTarget> = {}): MailboxTarget => ({
    ...{ protocol: 'imap', user, password, host: 'localhost', port: dovecot.ports.imap, tls: 'none' },
    ...{ folder: 'INBOX', doneFolder: 'Done', ...fields },
  })

  test('hears of new mail while it waits, and of what came before it did', async () => {
    const user = await dovecot.addUser()
    const opened = await open(targetOf(user))
    expect([opened.canWait, await opened.list()]).toEqual([true, []])
    const { signal } = new AbortController()
    const waiting = opened.waitForNews(60_000, signal)
    await user.deliver(mail('a'))
    await waiting
    await until('the mail is listed', async () => (await opened.list()).length === 1)
    await opened.finish()
  })

  test('waits no longer than it is told to, and not at all once it is to stop', async () => {
    const opened = await open(targetOf(await dovecot.addUser()))
    await opened.list()
    await opened.waitForNews(50, new AbortController().signal)
    const stop = new AbortController()
    const waiting = opened.waitForNews(60_000, stop.signal)
    stop.abort()
    await waiting
    await opened.waitForNews(60_000, stop.signal)
    expect(await opened.list()).toEqual([])
    await opened.finish()
  })

  test('a connection that is lost while it waits is told', async () => {
    const user = await dovecot.addUser()
    const proxy = await startCuttingProxy(dovecot.ports.imap)
    proxies.push(proxy)
    const opened = await open(targetOf(user, { port: proxy.port }))
    const waiting = opened.waitForNews(60_000, new AbortController().signal)
    proxy.cut()
    expect(await troubleOf(waiting)).toBe('connection_lost')
  })

  test('tells a folder that is not there, and one into which nothing can be moved', async () => {
    const user = await dovecot.addUser()
    await user.deliver(mail('a'))
    expect(await troubleOf(open(targetOf(user, { folder: 'Nowhere' })))).toBe('folder_missing')
    const opened = await open(targetOf(user, { doneFolder: 'no/such//name' }))
    expect(await troubleOf(opened.remove(await opened.list()))).toBe('not_moved')
    expect(await user.mails()).toHaveLength(1)
  })
})
