/** The rules for replies: each matches the line that taught it, a table of real replies is judged right, and bad files are told apart. */
import { readFileSync } from 'node:fs'
import { parseSmtpReply, type SmtpReply } from '@valija/mail'
import { describe, expect, test } from 'vitest'
import { createJudge } from './disposition.ts'
import { readYaml } from './read-yaml.ts'
import type { Reason } from './reasons.ts'
import { loadReplyRules, readReplyRules } from './reply-rules.ts'
import { mailboxFaultOf } from './suppression-policy.ts'
import type { Phase } from './transaction.ts'

const rules = loadReplyRules()
const rulesOf = (yaml: string) => readReplyRules(readYaml('replies.yaml', yaml))
const judge = createJudge(rules)

const read = (line: string): SmtpReply => {
  const reply = parseSmtpReply(line)
  if (reply === null) throw new Error(`not SMTP: ${line}`)
  return reply
}

interface Sample {
  name: string
  phase: Phase
  expected: { reason: Reason; blame: string; action: string; event: 'bounce' | 'defer' }
  reply: SmtpReply
}

function samplesOf(file: string): Sample[] {
  const text = readFileSync(new URL(`rules/${file}`, import.meta.url), 'utf8')
  return text
    .split('\n')
    .map((line, index) => ({ line, number: index + 1 }))
    .filter(({ line }) => line !== '' && !line.startsWith('#'))
    .map(({ line, number }) => {
      const [phase, reason, blame, action, raw] = line.split('\t') as [Phase, Reason, string, string, string]
      const event = action === 'fail' ? 'bounce' : 'defer'
      const expected = { reason, blame, action, event } as const
      return {
        name: `${file}:${number} ${raw}`,
        phase,
        expected,
        reply: read(raw.replaceAll(String.raw`\n`, '\n')),
      }
    })
}

describe('the rules', () => {
  test.each(rules.flatMap((rule) => rule.lines.map((line) => ({ rule, line }))))(
    'decide about the line that taught them, and no earlier one does: $line',
    ({ rule, line }) => {
      const phase = rule.phases?.[0] ?? 'rcpt'
      const first = rules.find((candidate) => candidate.matches(read(line), phase, null))
      expect(first?.lines[0]).toBe(rule.lines[0])
    },
  )

  test('take time in proportion to a reply’s length, whatever it says', () => {
    const hostile = [
      'a',
      ' ',
      'user ',
      'mailbox is ',
      '1.',
      'SPF ',
      'recipients (',
      'sender address [',
      'exceeded the ',
    ]
    const timeOf = (length: number) => {
      const replies = hostile.map((part) => part.repeat(length / part.length))
      const runs = Array.from({ length: 5 }, () => {
        // Of this thread, so that what else the machine does is not counted.
        const start = process.threadCpuUsage()
        for (const text of replies)
          judge({ phase: 'rcpt', reply: { code: 550, enhanced: null, text }, failure: null, host: null })
        const { user, system } = process.threadCpuUsage(start)
        return user + system
      })
      return Math.min(...runs)
    }
    timeOf(4_000) // compiles
    // Sixteen times the text: what is quadratic takes 256 times as long.
    expect(timeOf(64_000) / timeOf(4_000)).toBeLessThan(64)
  })
})

describe.each(['replies.samples.tsv', 'replies.held-out.tsv'])('the table %s', (file) => {
  const samples = samplesOf(file)

  test.each(samples)('is judged right: $name', ({ phase, reply, expected }) => {
    expect(judge({ phase, reply, failure: null, host: null })).toMatchObject(expected)
  })

  test('suppresses nobody but for an unknown, disabled or full mailbox', () => {
    const suppressed = samples
      .filter(
        ({ phase, reply }) =>
          mailboxFaultOf(judge({ phase, reply, failure: null, host: null }), phase) !== null,
      )
      .filter(({ expected }) => !expected.reason.startsWith('mailbox_') || expected.event !== 'bounce')
    expect(suppressed).toEqual([])
  })
})

test('there are samples enough to mean something', () => {
  expect(samplesOf('replies.samples.tsv').length).toBeGreaterThanOrEqual(350)
})

describe('a rule', () => {
  const rule = (yaml: string) => rulesOf(`- line: 550 x\n  reason: policy\n  ${yaml}`)[0]!
  const holds = (yaml: string, line: string, phase: Phase = 'rcpt', host: string | null = null) =>
    rule(yaml).matches(read(line), phase, host)

  test('matches by text in any case, code, status, phase and host, all at once', () => {
    expect(holds('text: [nope, go away]', '550 GO AWAY')).toBe(true)
    expect(holds('code: 5xx', '450 x')).toBe(false)
    expect(holds('code: [421, 5xx]', '421 x')).toBe(true)
    expect(holds('status: x.7.606-649', '550 5.7.610 x')).toBe(true)
    expect(holds('status: 5.7.606-649', '550 5.7.650 x')).toBe(false)
    expect(holds('status: 5.1.x', '550 5.1.10 x')).toBe(true)
    expect(holds('status: 5.1.1', '550 x')).toBe(false)
    expect(holds('{ text: x, phase: mail }'.slice(2, -2).replace(', ', '\n  '), '550 x')).toBe(false)
    expect(holds('host: .example.org', '550 x', 'rcpt', 'MX1.Example.org')).toBe(true)
    expect(holds('host: example.org', '550 x', 'rcpt', 'mx1.example.org')).toBe(false)
    expect(holds('host: .example.org', '550 x')).toBe(false)
    expect(holds('text: x\n  code: 421', '550 x')).toBe(false)
  })

  test.each([
    ['not YAML', '- line: [', /^replies\.yaml:\d: /],
    ['not a list', 'line: 550 x', /^replies\.yaml:1: the file must be a list of rules$/],
    [
      'a rule that is no map',
      '- line: 550 x\n  text: x\n  reason: spam\n- 7',
      /^replies\.yaml:4: a rule must be a map$/,
    ],
    [
      'an unknown field',
      '- line: 550 x\n  texts: x\n  reason: spam',
      /^replies\.yaml:2: "texts" is no field/,
    ],
    ['no line', '- text: x\n  reason: spam', /^replies\.yaml:1: a rule needs the "line"/],
    ['no condition', '- line: 550 x\n  reason: spam', /^replies\.yaml:1: a rule needs a condition/],
    ['no reason', '- line: 550 x\n  text: x', /^replies\.yaml:1: a rule needs a "reason"$/],
    [
      'an unknown reason',
      '- line: 550 x\n  text: x\n  reason: bad luck',
      /^replies\.yaml:3: "reason" is one of/,
    ],
    [
      'an unknown action',
      '- line: 550 x\n  text: x\n  reason: spam\n  action: pray',
      /^replies\.yaml:4: "action" is one of/,
    ],
    ['a bad code', '- line: 550 x\n  code: 250\n  reason: spam', /^replies\.yaml:2: "code" is/],
    ['a bad status', '- line: 550 x\n  status: 7.1\n  reason: spam', /^replies\.yaml:2: "status" is/],
    [
      'a broken pattern',
      '- line: 550 x\n  text: (\n  reason: spam',
      /^replies\.yaml:2: "text" is no regular expression/,
    ],
    [
      'a nested map',
      '- line: 550 x\n  text: {a: b}\n  reason: spam',
      /^replies\.yaml:2: "text" must be a text/,
    ],
  ])('that is %s stops the start with its line', (_, yaml, message) => {
    expect(() => rulesOf(yaml)).toThrow(message)
  })

  test.each([
    'a*',
    'a+',
    '(?:a|b)+',
    'a{2,}',
    'a{1000}',
    '(a{1,3}){1,3}',
    '(?=a)',
    '(?<!a)',
    '(a)\\1',
    'a{0,60}b{0,60}',
  ])('whose pattern could take long is refused: %s', (text) => {
    expect(() => rulesOf(`- line: 550 x\n  text: '${text}'\n  reason: spam`)).toThrow(
      /^replies\.yaml:2: .*(?:may not repeat|may have)/,
    )
  })
})
