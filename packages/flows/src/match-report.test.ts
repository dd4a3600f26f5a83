import { createSealer } from '@valija/core'
import { messageToken, type OriginalTraces, type ReportedRecipient, returnPath } from '@valija/mail'
import type { ReportedMail } from '@valija/store'
import { describe, expect, test } from 'vitest'
import { findTargets, matchBounce, matchComplaint, quotesAnother } from './match-report.ts'
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

describe('which recipient a bounce means', () => {
  const ann = mail('Ann+news@example.org')
  const match = (recipients: ReportedRecipient[], mails = [ann], isOne = true) =>
    matchBounce({ kind: 'bounce', recipients, original: nothing }, mails, isOne).map(
      (found) => found.mail.email,
    )

  test.each([
    ['as it was sent to', reported('Ann+news@example.org')],
    ['in another case', reported('ANN+NEWS@EXAMPLE.ORG')],
    ['without its tag', reported('ann@example.org')],
    ['at a host below its domain', reported('ann@mail.example.org')],
    ['at another mailbox, that it was forwarded to', reported('bob@elsewhere.test', 'ann+news@example.org')],
    ['by no address at all', reported(null)],
  ])('the one that is named %s', (_, recipient) => {
    expect(match([recipient])).toEqual([ann.email])
  })

  test.each([
    ['another mailbox of the domain', reported('bob@example.org')],
    ['the same name in another domain', reported('ann@example.net')],
    ['a domain that only ends alike', reported('ann@notexample.org')],
  ])('nobody, when it names %s', (_, recipient) => {
    expect(match([recipient])).toEqual([])
  })

  test('of a message’s recipients those that it names, and nobody when it names none of several', () => {
    const bob = mail('bob@example.org')
    expect(match([reported('x@example.org'), reported('bob@example.org')], [ann, bob], false)).toEqual([
      bob.email,
    ])
    expect(match([reported(null)], [ann, bob], false)).toEqual([])
    expect(match([reported(null)], [ann], false)).toEqual([ann.email])
  })
})

test('a complaint is of the recipient of its return path, whatever is blacked out; by a token it has to be clear who complains', () => {
  const [ann, bob] = [mail('ann@example.org'), mail('bob@example.org')]
  const by = (recipients: string[], mails: ReportedMail[], isOne: boolean) =>
    matchComplaint(
      { kind: 'complaint', feedbackType: 'abuse', recipients, original: nothing, source: null },
      mails,
      isOne,
    )
  expect(by([], [ann], true)).toBe(ann)
  expect(by([], [ann], false)).toBe(ann)
  expect(by(['bob@example.org'], [ann, bob], false)).toBe(bob)
  expect(by([], [ann, bob], false)).toBeNull()
  expect(by(['ann@example.org', 'bob@example.org'], [ann, bob], false)).toBeNull()
})
