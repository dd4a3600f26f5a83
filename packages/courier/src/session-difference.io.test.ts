/**
 * Our own session against the one over nodemailer: the same mails to the same peer give the same reports, and the peer is told
 * and given the same, octet by octet: with and without STARTTLS, PIPELINING, 8BITMIME, SMTPUTF8, DSN, SIZE and CHUNKING. Mails and
 * peers are generated; a seed that fails says its number. `SCALE=1` has 10,000 mails.
 *
 * nodemailer knows no CHUNKING: what differs by it, DATA or BDAT, is left out, and what the peer got is compared.
 */
import type { TransactionReport } from '@valija/core'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { scaled, timeFor } from '../../../tests/support/scale.ts'
import { createOpenSession } from './open-first.ts'
import type { Envelope } from './session.ts'
import { createRandom, type Random } from './testing/random.ts'
import type { PeerScript } from './testing/scripted-peer.ts'
import { always, makeCertificate, SessionBench } from './testing/session-bench.ts'

const ours = new SessionBench((guard) => createOpenSession({ guard }))
const theirs = new SessionBench((guard) => createOpenSession({ guard, isNodemailerOnly: true }))
let certificate: { key: string; cert: string }
beforeAll(async () => {
  certificate = await makeCertificate('127.0.0.1')
})
afterAll(async () => {
  await ours.end()
  await theirs.end()
})

const sessions = scaled(2_500, 150)
const mailsPerSession = 4

const steps = ['mail', 'rcpt', 'data', 'dot'] as const
const answers = [
  '451 4.3.0 later',
  '450-4.2.1 grey\r\n450 4.2.1 listed',
  '550 5.1.1 no such user',
  '421 4.7.0 enough',
  '554 no',
  'nonsense',
  '250-2.0.0 two\r\n250 2.0.0 lines',
  'CLOSE',
  'RESET',
] as const

/** What the peer does at each mail: mostly what it should. */
function makeScript(random: Random): () => PeerScript {
  const keywords = ['PIPELINING', '8BITMIME', 'SMTPUTF8', 'DSN', 'SIZE 300000', 'SIZE']
  const features = [...keywords, 'ENHANCEDSTATUSCODES', 'CHUNKING'].filter(() => random.chance(0.7))
  if (random.chance(0.15)) features.push('STARTTLS')
  const odd = Array.from({ length: mailsPerSession }, () =>
    random.chance(0.4) ? { step: random.pick(steps), act: random.pick(answers) } : null,
  )
  return () => {
    let mailNumber = -1
    const actAt = (step: (typeof steps)[number]) =>
      odd[mailNumber]?.step === step ? { [step]: odd[mailNumber]?.act } : {}
    return {
      features,
      tls: certificate,
      get mail() {
        mailNumber += 1
        return actAt('mail').mail
      },
      get rcpt() {
        return actAt('rcpt').rcpt
      },
      get data() {
        // A real server takes no DATA without a recipient.
        const isRefused =
          ['mail', 'rcpt'].includes(odd[mailNumber]?.step ?? '') && odd[mailNumber]?.act !== answers[6]
        return isRefused ? '503 5.5.1 no recipient' : actAt('data').data
      },
      get dot() {
        return actAt('dot').dot
      },
    } as PeerScript
  }
}

function makeMail(random: Random): { envelope: Envelope; bytes: Buffer } {
  const email = random.pick([
    'ann@example.com',
    "o'hara+x=y@example.com",
    'jürgen@example.com',
    `${'l'.repeat(64)}@example.org`,
  ])
  const pieces = [
    '\r\n',
    '\r\n',
    '\n',
    '\r',
    '.',
    '..',
    '\r\n.\r\n',
    '\n.\n',
    'MAIL FROM:<x@y>',
    'text ',
    'grüß',
    '\0',
  ]
  const safe = random.chance(0.5) ? pieces.filter((piece) => piece !== 'grüß') : pieces
  let body = 'Subject: x\r\n\r\n'
  const length = random.chance(0.05) ? 60_000 : random.below(60)
  for (let i = 0; i < length; i += 1) body += random.pick(safe)
  return {
    envelope: {
      from: random.pick(['b-1@us.example', '']),
      to: email,
      needsSmtpUtf8: email.includes('ü'),
      envid: random.pick([null, 'msg_1', 'a=b+c d']),
      ...(random.chance(0.5)
        ? { orcpt: random.pick(['a+b@example.com', 'ö@example.com', 'plain@x.example']) }
        : {}),
    },
    bytes: Buffer.from(body),
  }
}

/** What must be equal. How a failure is put in words, and when RSET is said, are a session's own. */
function essence(report: TransactionReport) {
  const { phase, reply, failure, isUncertain, sizeBytes, tls, host, ip } = report
  return { phase, reply, failure, isUncertain, sizeBytes, tls, host, ip }
}

async function run(bench: SessionBench, script: PeerScript, mails: ReturnType<typeof makeMail>[]) {
  const session = await bench.begin(script)
  const results: unknown[] = []
  for (const { envelope, bytes } of mails) {
    if (!session.isUsable) break
    const report = await session.send(envelope, bytes, always, { route: 'mx' })
    results.push({ ...essence(report), isUsable: session.isUsable })
  }
  await bench.end()
  const commands = bench.peer.connections[0]?.filter((line) => line !== 'RSET' && line !== 'QUIT')
  return { results, commands, mails: bench.peer.mails }
}

test(`${sessions * mailsPerSession} generated mails: the same reports, commands and octets`, {
  timeout: timeFor(60_000),
}, async () => {
  const count = { encrypted: 0, mails: 0 }
  for (let seed = 1; seed <= sessions; seed += 1) {
    const random = createRandom(seed)
    const script = makeScript(random)
    const mails = Array.from({ length: mailsPerSession }, () => makeMail(random))
    const direct = await run(ours, script(), mails)
    expect(direct, `seed ${seed}`).toEqual(await run(theirs, script(), mails))
    if (direct.commands?.includes('STARTTLS')) count.encrypted += 1
    count.mails += direct.mails.length
  }
  expect(count.encrypted).toBeGreaterThan(sessions / 20)
  expect(count.mails).toBeGreaterThan(sessions)
})

const chunkedSessions = scaled(100, 2)

test(`${chunkedSessions} large mails to a peer with CHUNKING, in BDAT and in DATA: the same reports and octets`, {
  timeout: timeFor(60_000),
}, async () => {
  for (let seed = 1; seed <= chunkedSessions; seed += 1) {
    const random = createRandom(seed)
    const { envelope, bytes } = makeMail(random)
    const large = Buffer.concat([
      bytes,
      Buffer.alloc(1_048_576 + random.below(600_000), makeMail(random).bytes),
    ])
    const features = [
      'CHUNKING',
      '8BITMIME',
      'SMTPUTF8',
      'SIZE',
      ...(random.chance(0.5) ? ['PIPELINING'] : []),
    ]
    if (random.chance(0.3)) features.push('STARTTLS')
    const act = random.chance(0.3) ? { dot: random.pick(answers) } : {}
    const script = { features, tls: certificate, ...act } as PeerScript
    const mails = [{ envelope, bytes: large }]
    const [direct, compared] = [await run(ours, script, mails), await run(theirs, script, mails)]
    expect(direct.commands?.some((line) => line.startsWith('BDAT '))).toBe(true)
    const said = (commands = direct.commands) => commands?.filter((line) => !/^(?:BDAT|DATA)/.test(line))
    expect(said(), `seed ${seed}`).toEqual(said(compared.commands))
    expect(direct.results, `seed ${seed}`).toEqual(compared.results)
    expect(
      direct.mails.map(({ body }) => body),
      `seed ${seed}`,
    ).toEqual(compared.mails.map(({ body }) => body))
  }
})
