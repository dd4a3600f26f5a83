import { createSealer } from '@valija/core'
import { messageToken, type OriginalTraces, type ReportedRecipient, returnPath } from '@valija/mail'
import type { ReportedMail } from '@valija/store'
import { describe, expect, test } from 'vitest'
import { findTargets, matchBounce, ordinalOf, quotesAnother, readNames } from './match-report.ts'
import { createReportAddresses } from './report-address.ts'

const id = '0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b'
const otherId = '0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5c'
const sealer = createSealer(['the secret of this test'])
const secret = sealer.signingKeys('return path')[0]!
const day = 20_780
const { read } = createReportAddresses({ sealer, clock: { nowMs: () => day * 86_400_000 } })
const path = (messageId: string, ordinal = 0, on = day) =>
  returnPath({ messageId, ordinal, day: on }, secret, 'bounce.test')
const token = (messageId: string) => messageToken({ messageId, day }, secret)

const nothing: OriginalTraces = {
  ...{ messageId: null, returnPath: null, recipientToken: null },
  ...{ from: null, to: null, subject: null },
}

const mail = (email: string): ReportedMail => ({
  recipientId: email,
  messageId: id,
  tenantId: id,
  email,
  emailKey: email.toLowerCase(),
  domain: 'example.org',
  stream: 'bulk',
  fromDomain: 'acme.test',
  tags: [],
  metadata: {},
  rfcMessageId: '<1@acme.test>',
  isSimulated: false,
})

const reported = (address: string | null, originalAddress: string | null = null): ReportedRecipient => ({
  ...{ address, originalAddress, action: 'failed', status: '5.1.1', replyCode: 550, text: 'no' },
  ...{ remoteHost: null, reportingHost: null, phase: null },
})

describe('whom a report is about', () => {
  test('the address that it came to says it; else the return path that it quotes; else the token', () => {
    const traces = { ...nothing, returnPath: path(otherId, 4), recipientToken: token(id) }
    const one = { kind: 'recipient', messageId: id, ordinal: 3 }
    expect(findTargets([path(id, 3), 'ann@acme.test'], traces, read)).toEqual({ targets: [one] })
    const quoted = { kind: 'recipient', messageId: otherId, ordinal: 4 }
    expect(findTargets(['bounces@acme.test'], traces, read)).toEqual({ targets: [quoted] })
    const message = { kind: 'message', messageId: id }
    expect(findTargets([], { ...nothing, recipientToken: token(id) }, read)).toEqual({ targets: [message] })
  })

  test('one recipient, or one message, is one however many domains its address stands at', () => {
    const at = (local: string, domain: string) => `${local.split('@')[0]}@${domain}`
    const addresses = ['a.test', 'b.test', 'c.test'].flatMap((domain) =>
      [path(id, 3), token(id)].map((address) => at(address, domain)),
    )
    expect(findTargets(addresses, nothing, read)).toEqual({
      targets: [
        { kind: 'recipient', messageId: id, ordinal: 3 },
        { kind: 'message', messageId: id },
      ],
    })
  })

  test('which recipient: the return path says it, also where it is quoted; the token of a message does not', () => {
    const message = { kind: 'message', messageId: id } as const
    const quoting = (returnPath: string | null) => ({ ...nothing, returnPath, recipientToken: token(id) })
    expect(ordinalOf({ kind: 'recipient', messageId: id, ordinal: 3 }, quoting(path(id, 4)), read)).toBe(3)
    expect(ordinalOf(message, quoting(path(id, 4)), read)).toBe(4)
    for (const other of [null, path(otherId, 4), path(id, 4, day - 61), token(id), 'hi@acme.test'])
      expect(ordinalOf(message, quoting(other), read)).toBeNull()
  })

  test('why there is none is the worst of what was found', () => {
    const forged = path(id).replace(/.@/, (end) => (end === 'a@' ? 'b@' : 'a@'))
    expect(findTargets(['ann@acme.test'], nothing, read)).toEqual({ ignored: 'foreign' })
    expect(findTargets(['ann@acme.test', forged], nothing, read)).toEqual({ ignored: 'forged' })
    expect(findTargets([path(id, 0, day - 61)], nothing, read)).toEqual({ ignored: 'expired' })
  })
})

test.each([
  ['nothing', {}, false],
  ['the Message-ID', { messageId: '<1@acme.test>' }, false],
  ['another Message-ID', { messageId: '<2@acme.test>' }, true],
  [
    'our token, under a Message-ID that a relay has made',
    { messageId: '<2@relay.test>', recipientToken: token(id) },
    false,
  ],
  ['the token of another mail', { messageId: '<1@acme.test>', recipientToken: token(otherId) }, true],
  ['the return path of another mail', { returnPath: path(otherId) }, true],
])('whether the mail that is quoted is another one: %s', (_, traces, isAnother) => {
  expect(quotesAnother({ ...nothing, ...traces }, mail('ann@example.org'), read)).toBe(isAnother)
})

describe('whether a bounce means a recipient', () => {
  const ann = mail('Ann+news@example.org')
  const match = (recipients: ReportedRecipient[], to = ann) =>
    matchBounce(readNames({ kind: 'bounce', recipients, original: nothing }), to)

  test.each([
    ['as it was sent to', reported('Ann+news@example.org')],
    ['in another case', reported('ANN+NEWS@EXAMPLE.ORG')],
    ['without its tag', reported('ann@example.org')],
    ['at a host below its domain', reported('ann@mail.example.org')],
    ['at another mailbox, that it was forwarded to', reported('bob@elsewhere.test', 'ann+news@example.org')],
    ['by no address at all', reported(null)],
  ])('that it names %s', (_, recipient) => {
    expect(match([recipient])).toBe(recipient)
  })

  test.each([
    ['another mailbox of the domain', reported('bob@example.org')],
    ['the same name in another domain', reported('ann@example.net')],
    ['a domain that only ends alike', reported('ann@notexample.org')],
  ])('not when it names %s', (_, recipient) => {
    expect(match([recipient])).toBeNull()
    expect(match([reported(null), recipient])).toBeNull()
  })

  test('of several that it names the one', () => {
    const recipients = [reported('ann@example.net'), reported('ann@example.org'), reported('bob@example.org')]
    expect(match(recipients)).toBe(recipients[1])
    expect(match(recipients, mail('bob@example.org'))).toBe(recipients[2])
  })

  // Both in a mail that somebody sent: 1,000 names to 1,000 addresses took 35 s when each was read for each.
  test('a thousand names are held against a thousand recipients in no time', () => {
    const recipients = Array.from({ length: 1_000 }, (_, i) => reported(`a${i}@x.test`, `b${i}@bücher.test`))
    const mails = Array.from({ length: 1_000 }, (_, i) => mail(`c${i}@example.org`))
    const before = process.threadCpuUsage()
    const names = readNames({ kind: 'bounce', recipients, original: nothing })
    expect(mails.filter((to) => matchBounce(names, to) !== null)).toEqual([])
    const { user, system } = process.threadCpuUsage(before)
    expect((user + system) / 1_000).toBeLessThan(1_000)
  })
})
