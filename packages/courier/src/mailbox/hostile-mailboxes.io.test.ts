/**
 * Mail servers that mean us ill, or are broken: scripted, and survived in bounded time and memory. What a real one does is in
 * mailbox.conformance.io.test.ts.
 */
import { getEventListeners } from 'node:events'
import net from 'node:net'
import { afterEach, describe, expect, test } from 'vitest'
import { liveMemory } from '../../../../tests/support/live-memory.ts'
import { createNetworkGuard } from '../network-guard.ts'
import { MailboxFailure, type MailboxLimits, type MailboxTarget } from './mailbox.ts'
import { createOpenMailbox } from './open-mailbox.ts'

/** What a server says to a line of the client; the first is said unasked. */
type Script = (line: string | null, socket: net.Socket) => void

const servers: net.Server[] = []
const sockets = new Set<net.Socket>()
afterEach(async () => {
  for (const socket of sockets) socket.destroy()
  for (const server of servers.splice(0)) await new Promise((resolve) => server.close(resolve))
})

async function serve(script: Script): Promise<number> {
  const server = net.createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => undefined)
    let text = ''
    socket.on('data', (chunk) => {
      const lines = `${text}${chunk}`.split('\r\n')
      text = lines.pop() ?? ''
      for (const line of lines) script(line, socket)
    })
    script(null, socket)
  })
  servers.push(server)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return (server.address() as net.AddressInfo).port
}

const open = (protocol: 'imap' | 'pop3', port: number, limits: Partial<MailboxLimits> = {}, more = {}) => {
  const target: MailboxTarget = {
    ...{ protocol, port, host: '127.0.0.1', tls: 'none', user: 'u', password: 'p' },
    ...{
      folder: protocol === 'imap' ? 'INBOX' : null,
      doneFolder: protocol === 'imap' ? 'Done' : null,
      ...more,
    },
  }
  return createOpenMailbox({ guard: createNetworkGuard(['127.0.0.0/8']), limits })(target)
}

const troubleOf = (work: Promise<unknown>) =>
  work.then(
    () => 'none',
    (error: unknown) => (error instanceof MailboxFailure ? error.trouble : error),
  )

/** Says something again and again, as fast as it is taken, until the connection is gone. */
function flood(socket: net.Socket, text: string): void {
  const go = () => {
    while (!socket.destroyed && socket.write(text)) if (sent.bytes > 400_000_000) return
  }
  const sent = { bytes: 0 }
  socket.on('drain', () => {
    sent.bytes += text.length
    go()
  })
  go()
}

/** Says one octet every 20 ms. */
function drip(socket: net.Socket, text: string): void {
  const timer = setInterval(() => socket.write(text), 20)
  socket.on('close', () => clearInterval(timer))
}

const pop3 =
  (answers: Record<string, string | ((socket: net.Socket) => void)>): Script =>
  (line, socket) => {
    const command = line === null ? 'greeting' : (line.split(' ')[0] ?? '')
    const answer = answers[command] ?? '+OK'
    if (typeof answer === 'string') socket.write(`${answer}\r\n`)
    else answer(socket)
  }

const imap =
  (answers: Record<string, (tag: string, socket: net.Socket) => void>): Script =>
  (line, socket) => {
    if (line === null) return void socket.write('* OK [CAPABILITY IMAP4rev1] ready\r\n')
    const [tag = '', first = '', second = ''] = line.split(' ')
    const command = first === 'UID' ? `UID ${second}` : first
    const answer = answers[command]
    if (answer) return answer(tag, socket)
    const before: Record<string, string> = {
      CAPABILITY: '* CAPABILITY IMAP4rev1\r\n',
      LIST: '* LIST () "/" INBOX\r\n',
      SELECT: '* 1 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n* OK [UIDNEXT 2] x\r\n',
      'UID SEARCH': '* SEARCH 1\r\n',
    }
    socket.write(`${before[command] ?? ''}${tag} OK done\r\n`)
  }

/** How many octets more than before the process held, at most, while it worked. */
async function growthOf(work: () => Promise<unknown>): Promise<number> {
  const before = liveMemory()
  let peak = 0
  const timer = setInterval(() => {
    peak = Math.max(peak, liveMemory() - before)
  }, 100)
  await work()
  clearInterval(timer)
  return Math.max(peak, liveMemory() - before)
}

test.each(['imap', 'pop3'] as const)(
  'a server that does not greet is told apart from a slow %s one',
  async (protocol) => {
    const port = await serve(() => undefined)
    expect(await troubleOf(open(protocol, port, { openMs: 400 }))).toEqual({
      code: 'no_greeting',
      detail: expect.stringMatching(
        /^no (IMAP|POP3) greeting came within \d s: is it the right port and TLS mode\?$/,
      ),
    })
  },
)

const short = { openMs: 400, listMs: 400, readMs: 400, finishMs: 400 }

describe('pop3', () => {
  test.each<[string, Record<string, string>, string, string]>([
    ['a login that is refused', { PASS: '-ERR [AUTH] no' }, 'login_refused', '[AUTH] no'],
    ['a mailbox that another has open', { PASS: '-ERR [IN-USE] wait' }, 'busy', '[IN-USE] wait'],
    ['the same in words', { PASS: '-ERR maildrop already locked' }, 'busy', 'maildrop already locked'],
    ['a server that is too busy', { greeting: '-ERR too many' }, 'busy', 'too many'],
    ['a greeting of another service', { greeting: '220 smtp' }, 'protocol', 'no answer of POP3: 220 smtp'],
    ['control characters', { PASS: '-ERR a\tb\u001b[2J' }, 'login_refused', 'a b [2J'],
  ])('%s is told as it is', async (_, answers, code, detail) => {
    const port = await serve(pop3(answers))
    expect(await troubleOf(open('pop3', port))).toEqual({ code, detail })
  })

  test('no STLS, no login', async () => {
    let hasLogin = false
    const port = await serve(
      pop3({
        STLS: '-ERR what',
        USER: (socket) => {
          hasLogin = true
          socket.write('+OK\r\n')
        },
      }),
    )
    expect(await troubleOf(open('pop3', port, {}, { tls: 'starttls' }))).toMatchObject({ code: 'tls_failed' })
    expect(hasLogin).toBe(false)
  })

  test('what is said before the encryption begins is not taken for what is said in it', async () => {
    const port = await serve(pop3({ STLS: '+OK go\r\n+OK injected' }))
    const trouble = await troubleOf(open('pop3', port, short, { tls: 'starttls' }))
    expect(trouble).toMatchObject({ code: 'tls_failed', detail: expect.stringContaining('before the TLS') })
  })

  test('a server without UIDL is not worked with: mails could not be told apart', async () => {
    const session = await open('pop3', await serve(pop3({ UIDL: '-ERR what' })))
    expect(await troubleOf(session.list())).toMatchObject({ code: 'protocol' })
  })

  test('two mails of one name: the second comes when the first is gone', async () => {
    const session = await open('pop3', await serve(pop3({ UIDL: '+OK\r\n1 same\r\n2 same\r\n3 other\r\n.' })))
    expect(await session.list()).toEqual(['same', 'other'])
  })

  test.each<[string, (socket: net.Socket) => void]>([
    ['an endless line', (socket) => flood(socket, 'x'.repeat(65_536))],
    ['an endless list', (socket) => flood(socket, `+OK\r\n${'1 abc\r\n'.repeat(10_000)}`)],
  ])('%s for a list ends soon', async (_, answer) => {
    const session = await open('pop3', await serve(pop3({ UIDL: answer })))
    const growth = await growthOf(async () => {
      expect(await troubleOf(session.list())).toMatchObject({
        code: expect.stringMatching(/protocol|too_many/),
      })
      session.close()
    })
    expect(growth).toBeLessThan(20_000_000)
  })

  test('an endless mail is dropped as it comes, and given up in time', async () => {
    const answers = {
      UIDL: '+OK\r\n1 a\r\n.',
      RETR: (socket: net.Socket) => {
        socket.write('+OK\r\n')
        flood(socket, `${'y'.repeat(65_534)}\r\n`)
      },
    }
    const session = await open('pop3', await serve(pop3(answers)), { ...short, maxMailBytes: 1_000_000 })
    const growth = await growthOf(async () => {
      expect(await troubleOf(session.read('a'))).toMatchObject({ code: 'timeout' })
    })
    expect(growth).toBeLessThan(20_000_000)
  })

  test.each(['greeting', 'USER', 'UIDL', 'RETR'])('a drip at %s ends in time', async (command) => {
    const answers = { UIDL: '+OK\r\n1 a\r\n.', [command]: (socket: net.Socket) => drip(socket, 'z') }
    const port = await serve(pop3(answers))
    const work = open('pop3', port, short).then((session) => session.read('a'))
    expect(await troubleOf(work)).toMatchObject({ code: 'timeout' })
  })

  test('a deletion that is refused is told, at DELE and at QUIT', async () => {
    const refusals: Record<string, string>[] = [{ DELE: '-ERR no' }, { QUIT: '-ERR some not deleted' }]
    for (const answers of refusals) {
      const session = await open('pop3', await serve(pop3({ UIDL: '+OK\r\n1 a\r\n.', ...answers })))
      const work = session.remove(['a']).then(() => session.finish())
      expect(await troubleOf(work)).toMatchObject({ code: 'not_moved' })
    }
  })
})

describe('imap', () => {
  test('a mailbox that is unavailable for now is no wrong password', async () => {
    const refuse = (text: string) => ({
      LOGIN: (tag: string, socket: net.Socket) => void socket.write(`${tag} NO ${text}\r\n`),
    })
    for (const [text, code] of [
      ['[UNAVAILABLE] later', 'busy'],
      ['[AUTHENTICATIONFAILED] no', 'login_refused'],
      ['no', 'login_refused'],
    ] as const)
      expect(await troubleOf(open('imap', await serve(imap(refuse(text)))))).toMatchObject({ code })
  })

  test('no STARTTLS, no login', async () => {
    let hasLogin = false
    const script = imap({
      LOGIN: (tag, socket) => {
        hasLogin = true
        socket.write(`${tag} OK\r\n`)
      },
    })
    const port = await serve(script)
    expect(await troubleOf(open('imap', port, {}, { tls: 'starttls' }))).toMatchObject({ code: 'tls_failed' })
    expect(hasLogin).toBe(false)
  })

  test.each<[string, string]>([
    ['an endless line', 'x'.repeat(65_536)],
    ['an endless list', `* SEARCH ${'123456789 '.repeat(6_000)}\r\n`],
    ['endless news', '* 5 EXISTS\r\n'.repeat(5_000)],
  ])('%s for a list ends soon', async (_, text) => {
    const script = imap({ 'UID SEARCH': (_tag, socket) => flood(socket, text) })
    const session = await open('imap', await serve(script), { listMs: 5_000 })
    const growth = await growthOf(async () => {
      expect(await troubleOf(session.list())).toMatchObject({
        code: expect.stringMatching(/protocol|timeout/),
      })
    })
    expect(growth).toBeLessThan(100_000_000)
  })

  test('a mail that is longer than was asked for is not taken, nor are a thousand of them', async () => {
    for (const text of [
      '* 1 FETCH (UID 1 BODY[]<0> {900000000}\r\nx',
      `* 1 FETCH (UID 1 BODY[]<0> {5}\r\nabcde)\r\n`.repeat(1_000),
    ]) {
      const script = imap({ 'UID FETCH': (_tag, socket) => flood(socket, text) })
      const session = await open('imap', await serve(script), { readMs: 3_000, maxMailBytes: 100_000 })
      const growth = await growthOf(async () => {
        expect(await troubleOf(session.read('7.1'))).toMatchObject({
          code: expect.stringMatching(/protocol|timeout/),
        })
      })
      expect(growth).toBeLessThan(100_000_000)
    }
  })

  test.each(['LOGIN', 'SELECT', 'UID SEARCH', 'UID FETCH'])('a drip at %s ends in time', async (command) => {
    const script = imap({ [command]: (_tag, socket) => drip(socket, '* OK drip\r\n') })
    const work = open('imap', await serve(script), short).then(async (session) => {
      await session.list()
      await session.read('7.1')
    })
    expect(await troubleOf(work)).toMatchObject({ code: 'timeout' })
  })

  test('however often its news are waited for, nothing is left on the signal that lives as long as the worker', async () => {
    const script = imap({
      CAPABILITY: (tag, socket) => void socket.write(`* CAPABILITY IMAP4rev1 IDLE\r\n${tag} OK\r\n`),
      IDLE: (tag, socket) => void socket.write(`+ idling\r\n* 2 EXISTS\r\n${tag} OK\r\n`),
    })
    const session = await open('imap', await serve(script), short)
    const stop = new AbortController()
    for (let n = 0; n < 3; n += 1) {
      await session.list()
      await session.waitForNews(50, stop.signal)
    }
    expect(getEventListeners(stop.signal, 'abort')).toEqual([])
    session.close()
  })

  test('without MOVE and UIDPLUS nothing is expunged: what others have marked as deleted stays', async () => {
    const said: string[] = []
    const script = imap({})
    const port = await serve((line, socket) => {
      if (line !== null) said.push(line.replace(/^\S+ /, ''))
      script(line, socket)
    })
    const session = await open('imap', port)
    await session.remove(['7.1'])
    expect(said.filter((line) => /COPY|STORE|EXPUNGE|MOVE/.test(line))).toEqual([
      expect.stringMatching(/^UID COPY 1 .*Done$/),
      expect.stringMatching(/^UID STORE 1 \+FLAGS.*\\Deleted \\Seen/),
    ])
  })
})
