/** What a report tells of the conversation: the reply's code and status, and the command that it answered. */
import type { ReportedPhase } from './incoming-mail.ts'

/** A reply code, not part of a longer number, an address or a version. */
const CODE =
  /(?:(?<![\d.#$/=+-]|\S:)|(?<=#)(?=\d{3} #?[45]\.\d))([45][0-5]\d|571)(?=[ :;,)\]'"-]|\.[ )]|\.?$)(?![ -](?:days?|hours?|minutes?|seconds?|bytes?|[kMG]?B\b|characters?|times|messages|recipients)\b)/gm
/** RFC 3463, not part of an IP address or a version. */
const STATUS = /(?<![\d.])([245])\.(\d{1,3})\.(\d{1,3})(?!\d|\.\d)/g

/** @returns the first code that servers use, 400 to 599; null when there is none */
export function codeInText(text: string, preferredClass: string | null = null): number | null {
  let first: number | null = null
  for (const match of text.matchAll(CODE)) {
    const code = Number(match[1])
    first ??= code
    if (preferredClass === null || match[1]?.startsWith(preferredClass)) return code
  }
  return first
}

/** @returns the first enhanced status that says more than `x.0.0`, else the first */
export function statusInText(text: string): string | null {
  let first: string | null = null
  for (const [, type, subject, detail] of text.matchAll(STATUS)) {
    const status = `${Number(type)}.${Number(subject)}.${Number(detail)}`
    first ??= status
    if (!status.endsWith('.0.0')) return status
  }
  return first
}

/**
 * The reply that a report quotes, without what leads to it (`host mx.example.net said:`) and without the codes of the lines that
 * only continue it: `550-5.1.1 No such user 550 5.1.1 https://…`. The text itself when it quotes none.
 */
export function replyIn(text: string): string {
  const code = codeInText(text)
  const at = code === null ? -1 : text.indexOf(String(code))
  if (code === null || at < 0) return text
  const reply = /[a-z]{3}/i.test(text.slice(at + 3)) ? text.slice(at) : text
  const begin = reply.indexOf(String(code)) + 3
  const repeated = new RegExp(` ${code}[- ](?:[45]\\.\\d{1,3}\\.\\d{1,3} )?(?![45]\\.\\d)`, 'g')
  return reply.slice(0, begin) + reply.slice(begin).replace(repeated, ' ')
}

/** `host mx.example.net[192.0.2.25] said: 550 …` → `mx.example.net` */
export function hostInText(text: string): string | null {
  return /\bhost ([a-z0-9][a-z0-9.-]{1,253})(?=[[ (:])/i.exec(text)?.[1] ?? null
}

type PhaseHint = readonly [ReportedPhase, RegExp]

/** In the words of those who report; the first that matches decides. */
const PHASES: readonly PhaseHint[] = [
  // Postfix and its relatives: "(in reply to end of DATA command)".
  [
    'body',
    /in repl(?:y|ies) to (?:the )?end of data|(?:after|following) (?:the )?end of (?:the )?(?:data|message)|end-of-data/i,
  ],
  [
    'rcpt',
    /in reply to (?:the )?rcpt(?: to)? command|in reply to rcpt|(?:after|following|for|by) (?:the )?(?:pipelined )?rcpt\b/i,
  ],
  [
    'mail',
    /in reply to (?:the )?mail(?: from)? command|in reply to mail from|(?:after|following|for|by) (?:the )?(?:pipelined )?mail from\b/i,
  ],
  [
    'body',
    /in reply to data|(?:after|following|for|by) (?:the )?(?:pipelined )?(?:data|text) command|for data command|(?:after|following) (?:the )?(?:pipelined )?data\b/i,
  ],
  ['ehlo', /in reply to (?:the )?(?:ehlo|helo)|(?:after|following) (?:the )?(?:ehlo|helo)/i],
  [
    'connect',
    /after initial connection|refused to talk to me|but greeting failed|while talking to .{0,80}greeting/i,
  ],
  // qmail and what grew from it.
  ['rcpt', /does not like recipient/i],
  ['mail', /(?:but|does not like) sender(?: was rejected)?/i],
  ['body', /failed on data command|failed after i sent the message/i],
  ['ehlo', /but my name was rejected/i],
  // DragonFly, and others that speak of themselves.
  ['rcpt', /(?:not like|rejected|refused) (?:our |the |my )?rcpt\b/i],
  ['mail', /(?:not like|rejected|refused) (?:our |the |my )?mail from\b/i],
  ['body', /(?:not like|rejected|refused) (?:our |the |my )?(?:data|message body|final dot)\b/i],
  ['ehlo', /(?:not like|rejected|refused) (?:our |the |my )?(?:ehlo|helo)\b/i],
  // The command in brackets behind, or in front of, the reply.
  [
    'rcpt',
    /[[(]rcpt[_ ]?(?:to)?[\])]|\bsmtp:rcpt\b|\brcpt to command\b|rcpt(?: to)? generated|\bsent: rcpt\b/i,
  ],
  [
    'mail',
    /[[(]mail[_ ]?from[\])]|\bsmtp:mail\b|\bmail from command\b|mail(?: from)? generated|\bsent: mail\b/i,
  ],
  [
    'body',
    /[[(](?:data|body|end[_ ]of[_ ]data)[\])]|\bsmtp:data\b|\bdata command\b|(?:data|body of message) generated/i,
  ],
  // Google's numbers for the state of its client.
  ['mail', /\(state 13\)/i],
  ['rcpt', /\(state 14\)/i],
  ['body', /\(state 1[5-9]\)/i],
]

export function phaseInText(text: string): ReportedPhase | null {
  return PHASES.find(([, pattern]) => pattern.test(text))?.[0] ?? null
}

/** The command of a line in a transcript: `>>> RCPT To:<jo@example.net>`, `Sent <<< DATA`. */
export function phaseOfCommand(line: string): ReportedPhase | null {
  const word = /^[ \t]{0,20}(?:>>>|sent[ \t]{1,4}<<<|sent[ \t]{1,4}>>>|c:|-->)[ \t]{1,8}([a-z]{4}|\.)/i
    .exec(line)?.[1]
    ?.toLowerCase()
  if (word === undefined) return null
  if (word === 'rcpt' || word === 'mail') return word
  if (word === 'data' || word === '.') return 'body'
  return word === 'ehlo' || word === 'helo' ? 'ehlo' : null
}
