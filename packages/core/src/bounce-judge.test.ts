/** What bounces mean: every rule matches the line that taught it, and doubt never suppresses. */
import { readFileSync } from 'node:fs'
import type { ReportedPhase, ReportedRecipient } from '@valija/mail'
import { describe, expect, test } from 'vitest'
import { type BounceJudgement, createBounceJudge, loadBounceRules } from './bounce-judge.ts'
import { loadReplyRules } from './reply-rules.ts'

const rules = loadBounceRules()
const judge = createBounceJudge(rules)
const taught = (['bounces', 'bounces.words', 'bounces.bare', 'bounces.late'] as const).flatMap((file) =>
  loadReplyRules(file).flatMap((rule) => rule.lines.map((line) => ({ file, rule, line }))),
)

function reported(part: Partial<ReportedRecipient>): ReportedRecipient {
  return {
    address: 'jo@example.net',
    originalAddress: null,
    action: 'failed',
    status: null,
    replyCode: null,
    text: '',
    remoteHost: null,
    reportingHost: null,
    phase: null,
    ...part,
  }
}

/** As the reader gives what such a line says. */
function fromLine(line: string): ReportedRecipient {
  const code = /(?:^|said: )([45]\d\d)(?=[ -])/.exec(line)?.[1]
  const status = /(?<![\d.])[45]\.\d{1,3}\.\d{1,3}(?![\d.]*\d)/.exec(line)?.[0]
  return reported({ text: line, replyCode: code === undefined ? null : Number(code), status: status ?? null })
}

const samples = readFileSync(new URL('rules/bounces.samples.tsv', import.meta.url), 'utf8')
  .split('\n')
  .filter((line) => line !== '' && !line.startsWith('#'))
  .map((line) => {
    const [phase, reasons, type, text] = line.split('\t') as [string, string, string, string]
    return { phase: phase === '-' ? null : (phase as ReportedPhase), reasons: reasons.split('|'), type, text }
  })

/** That the address or its domain does not exist. */
const isGone = ({ reason, bounceType }: BounceJudgement) =>
  bounceType === 'hard' && (reason === 'mailbox_unknown' || reason === 'domain_unknown')

describe('the rules', () => {
  test.each(taught)('of $file give their reason to the line that taught them: $line', ({ rule, line }) => {
    const host = line.startsWith('552 Too much mail data') ? 'mfsmax.docomo.ne.jp' : null
    const [phase, other] = rule.phases ?? []
    const at = other === undefined ? ((phase ?? null) as ReportedPhase | null) : null
    expect(judge({ ...fromLine(line), remoteHost: host, phase: at }).reason).toBe(rule.reason)
  })
})

describe('a guess', () => {
  const unbared = createBounceJudge({ ...rules, bare: [] })
  const guessed = loadReplyRules('bounces.bare').flatMap(({ lines, phases }) =>
    (phases ?? ['rcpt', 'body']).flatMap((phase) => lines.map((line) => ({ phase, line }))),
  )

  test.each(guessed)('is not made a rule by a file that is asked before: $phase $line', ({ phase, line }) => {
    expect(unbared({ ...fromLine(line), phase: phase as ReportedPhase }).evidence).not.toBe('rule')
  })
})

describe('the table of samples', () => {
  test.each(samples)('is judged right: $phase $text', ({ phase, reasons, type, text }) => {
    const judgement = judge({ ...fromLine(text), phase })
    expect(reasons).toContain(judgement.reason)
    expect(isGone(judgement) ? 'hard' : 'soft').toBe(type)
  })

  test('has lines enough to mean something', () => {
    expect(samples.length).toBeGreaterThan(250)
  })
})

describe('words that are not those of one system', () => {
  test('say more than a status that is sent with anything', () => {
    expect(judge(reported({ status: '5.5.0', phase: 'rcpt', text: '550 5.5.0 Boite inconnue' })).reason).toBe(
      'mailbox_unknown',
    )
    expect(judge(reported({ status: '5.1.1', text: '550 5.1.1 Casella disabilitata' })).reason).toBe(
      'mailbox_disabled',
    )
  })

  test('say less than a status that means one thing', () => {
    expect(judge(reported({ status: '5.6.0', text: '550 5.6.0 not allowed here' })).reason).toBe('content')
    expect(judge(reported({ status: '5.1.1', text: '550 5.1.1 not allowed here' })).reason).toBe(
      'mailbox_unknown',
    )
  })

  test('that stand alone are a guess, by which nobody is suppressed', () => {
    const bare = reported({ text: '550 <jo@example.net> unknown', phase: 'rcpt', replyCode: 550 })
    expect(judge(bare)).toMatchObject({ reason: 'mailbox_unknown', bounceType: 'hard', evidence: 'guess' })
    expect(judge({ ...bare, status: '5.1.1' }).evidence).toBe('status')
    const named = reported({ text: '550 Gebruiker onbekend', phase: 'rcpt', replyCode: 550 })
    expect(judge(named)).toMatchObject({ reason: 'mailbox_unknown', bounceType: 'hard', evidence: 'rule' })
  })

  test('do not make a bare "unknown" mean the recipient where nothing says that it was refused at RCPT', () => {
    expect(judge(reported({ text: '550 error unknown', phase: 'body', replyCode: 550 })).reason).toBe(
      'rejected',
    )
  })
})

describe('words of the sender, of hosts and of other mails', () => {
  test.each([
    '550 <hi@acme.com> does not exist',
    '550 MX record for sender doesn’t exist',
    "550 MX record for sender doesn't exist",
    '550 a TXT record does not exist for your domain',
    '550 5.7.1 <hi@acme.com>: not registered in our system',
    '550 <hi@acme.com> is not known here',
    '550 Message-ID header does not exist',
    '550 Requested route does not exist',
    '550 message held for 3 days, could not deliver to recipient',
    '550 nobody at your company may send here',
    '550 our form has been replaced by https://example.com/',
    '550 5.7.1 your signature cannot be verified',
    '500 command not recognized',
    '550 5.1.8 sender address does not exist',
    '550 your IP address is not registered in our system',
    '550 Verzeichnis kann nicht gelesen werden',
    '550 no se puede abrir el directorio',
    '550 nieznany bład',
    '550 the address of your server is not registered in our database',
    '550 username and password not recognized',
    '550 invalid name in HELO',
    '550 no such name as your HELO',
  ])('do not say of a mailbox that it is unknown: %s', (text) => {
    const judgement = judge({ ...fromLine(text), phase: 'rcpt' })
    expect([judgement.reason, judgement.evidence]).not.toEqual(['mailbox_unknown', 'rule'])
  })

  test.each([
    ['reputation', '550 no more messages can be sent from your IP today'],
    ['throttled', '550 will not accept any more messages from you today'],
    ['throttled', '550 this mailbox will not accept any more messages from you today'],
    ['throttled', '550 your hourly sending quota is exceeded'],
    ['network', '550 connections closed and logged'],
    ['spam', '554 5.7.1 your message has left our quarantine for deletion'],
    ['reputation', '554 5.7.1 service for your network is suspended'],
    ['tls', '550 5.7.1 TLS is disabled for your host'],
    ['rejected', '550 IPv6 is disabled here'],
    ['rejected', '550 temporarily not accepting mail'],
    ['rejected', '554 message was suspended for review'],
    ['policy', '550 your account has been suspended'],
    ['reputation', '550 recipient quota for your IP exceeded'],
    ['reputation', '550 5.7.1 user authentication is disabled for your host'],
    ['throttled', '550 message quota exceeded for today'],
    ['throttled', '550 mail account limit per hour exceeded'],
  ])('do not say of a mailbox that it is full or disabled, but are %s: %s', (reason, text) => {
    expect(judge({ ...fromLine(text), phase: 'rcpt' }).reason).toBe(reason)
  })
})

describe('an address among the words', () => {
  const refused = (text: string) => judge(reported({ text, replyCode: 550, phase: 'rcpt' }))

  test('does not part them, and what the reporting host adds does not end them', () => {
    expect(refused('550 mailbox <jo@example.net> unavailable (in reply to RCPT TO command)')).toMatchObject({
      reason: 'mailbox_unknown',
      evidence: 'rule',
    })
  })

  test('stands for the recipient, as a guess', () => {
    expect(refused('550 <jo@example.net>: out of use, retired')).toMatchObject({ evidence: 'guess' })
    expect(refused('550 <jo@example.net> is not activated')).toMatchObject({
      reason: 'mailbox_disabled',
      evidence: 'guess',
    })
  })

  test('is no word itself', () => {
    expect(refused('550 nospam@example.org: go away').reason).toBe('rejected')
  })
})

test('a report around an answer that says nothing is read for a guess', () => {
  const said = { text: 'could not be delivered', context: "L'adresse n'existe pas." }
  expect(judge(reported(said))).toMatchObject({
    reason: 'mailbox_unknown',
    bounceType: 'soft',
    evidence: 'guess',
  })
  expect(judge(reported({ ...said, action: 'delayed' })).reason).toBe('network')
  expect(judge(reported({ ...said, status: '5.2.2' })).reason).toBe('mailbox_full')
})

describe('no such user', () => {
  const unknown = { replyCode: 550, text: '550 no such user' }

  test('is hard when RCPT was refused with it', () => {
    expect(judge(reported({ ...unknown, phase: 'rcpt' }))).toMatchObject({
      reason: 'mailbox_unknown',
      bounceType: 'hard',
      evidence: 'rule',
    })
  })

  test('is hard with a status about the address', () => {
    expect(judge(reported({ ...unknown, status: '5.1.1' }))).toMatchObject({
      bounceType: 'hard',
      evidence: 'rule',
    })
  })

  test.each(['body', null] as const)('is soft, and a guess, when it was said at %s', (phase) => {
    expect(judge(reported({ ...unknown, phase }))).toMatchObject({ bounceType: 'soft', evidence: 'guess' })
  })

  test('is a guess when a person forwarded it', () => {
    const recipient = reported({ ...unknown, phase: 'rcpt', isSecondHand: true })
    expect(judge(recipient)).toMatchObject({ reason: 'mailbox_unknown', evidence: 'guess' })
  })
})

describe('an answer for the time being', () => {
  test.each([
    { status: '4.0.0', text: '450 <hi@acme.com> does not exist' },
    { status: '4.0.0', text: '450 user does not exist' },
    { status: null, text: '451 user unknown, try later' },
    { status: '5.0.0', text: '451 user unknown, try later' },
    { status: '4.4.7', text: 'Unknown user: jo@example.net' },
  ])('suppresses nobody, however long it was given: $status $text', ({ status, text }) => {
    expect(judge({ ...fromLine(text), status, phase: 'rcpt' })).toMatchObject({
      bounceType: 'soft',
      evidence: 'guess',
    })
  })

  test('is hard, but no evidence, with the status that means an unknown mailbox alone', () => {
    const text = '450 4.1.1 <jo@example.net>: Recipient address rejected: User unknown'
    expect(judge({ ...fromLine(text), phase: 'rcpt' })).toMatchObject({
      reason: 'mailbox_unknown',
      bounceType: 'hard',
      evidence: 'guess',
    })
  })

  test('does not soften a status for good that is about the address', () => {
    const reply = { ...fromLine('450 user unknown'), status: '5.1.1', phase: 'rcpt' as const }
    expect(judge(reply)).toMatchObject({ reason: 'mailbox_unknown', bounceType: 'hard', evidence: 'rule' })
  })

  test('says as much of a full mailbox as one for good', () => {
    const reply = { ...fromLine('452 4.2.2 mailbox full'), phase: 'rcpt' as const }
    expect(judge(reply)).toMatchObject({ reason: 'mailbox_full', evidence: 'rule' })
  })
})

describe('time over', () => {
  test('is the reason where the last reply was one that passes', () => {
    const text = '451 4.7.1 too many connections. I give up; this message has been in the queue too long.'
    expect(judge(reported({ replyCode: 451, status: '4.7.1', text })).reason).toBe('expired')
  })

  test('is not the reason where the last reply names one', () => {
    const text = '452 4.2.2 mailbox full. This message has been in the queue too long.'
    expect(judge(reported({ replyCode: 452, status: '4.2.2', text })).reason).toBe('mailbox_full')
  })
})

test('a delay without a cause is about the way to the host', () => {
  expect(judge(reported({ action: 'delayed' }))).toMatchObject({ reason: 'network', bounceType: 'soft' })
})

test('what was refused at the greeting is about the sending host', () => {
  expect(judge(reported({ phase: 'connect', replyCode: 554, text: '554 go away' })).reason).toBe('policy')
})

test('a domain that cannot be found for now is soft', () => {
  const recipient = reported({ status: '4.0.0', text: 'Domain name not found: nowhere.example' })
  expect(judge(recipient)).toMatchObject({ reason: 'domain_unknown', bounceType: 'soft' })
})
