/**
 * Bounces, complaints and reports made up for tests, in the shapes of many mail systems, and what becomes of them when something
 * on the way, or somebody, changes them. All from a seed: the same seed gives the same mails.
 */
import { Buffer } from 'node:buffer'

/** Numbers from 0 up to 1 (mulberry32). */
export function randomFrom(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), state | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }
}

const header = (subject: string, type = 'text/plain') =>
  `Return-Path: <>\nFrom: Mail Delivery System <MAILER-DAEMON@mx.example.net>\nTo: hi@example.com\nSubject: ${subject}\nMIME-Version: 1.0\nContent-Type: ${type}\n\n`
const original =
  'Return-Path: <hi@example.com>\nMessage-ID: <m1@example.com>\nX-Valija-Recipient: token\nFrom: hi@example.com\nTo: jo@example.net\nSubject: Hello\n\nHello\n'
const part = (type: string, body: string, more = '') => `--sep\nContent-Type: ${type}\n${more}\n${body}\n`
const base64 = (text: string) => Buffer.from(text).toString('base64').replace(/.{76}/g, '$&\n')
const report = 'multipart/report; report-type=delivery-status; boundary="sep"'
const status =
  'Reporting-MTA: dns; mx.example.net\n\nFinal-Recipient: rfc822; jo@example.net\nAction: failed\nStatus: 5.1.1\nRemote-MTA: dns; in.example.net\nDiagnostic-Code: smtp; 550 5.1.1 <jo@example.net>:\n  User unknown\n'

/** One mail of each shape, with LF. */
export const seedMails: readonly string[] = [
  header('Undelivered Mail Returned to Sender', report) +
    part(
      'text/plain',
      '<jo@example.net>: host in.example.net said: 550 5.1.1 User unknown (in reply to RCPT TO command)',
    ) +
    part('message/delivery-status', status) +
    part('message/rfc822', original) +
    '--sep--\n',
  header('Delivery Status Notification (Failure)', report) +
    part('text/html', '<p>Your message to <b>jo@example.net</b> could not be delivered: mailbox full</p>') +
    part('message/global-delivery-status', base64(status), 'Content-Transfer-Encoding: base64\n') +
    part('text/rfc822-headers', original) +
    '--sep--\n',
  `${header('failure notice')}Hi. This is the qmail-send program.\n\n<jo@example.net>:\n192.0.2.1 does not like recipient.\nRemote host said: 550 no mailbox (#5.1.1)\n\n--- Below this line is a copy of the message.\n\n${original}`,
  `${header('Mail delivery failed: returning message to sender')}The following address(es) failed:\n\n  jo@example.net\n    SMTP error from remote mail server after RCPT TO:<jo@example.net>:\n    550 5.1.1 unknown\n\n------ This is a copy of the message, including all the headers. ------\n\n${original}`,
  `${header('Returned mail: Host unknown')}   ----- Transcript of session follows -----\n>>> RCPT To:<jo@example.net>\n<<< 550 5.1.1 <jo@example.net>... User unknown\n550 <jo@example.net>... User unknown\n\n   ----- Unsent message follows -----\n${original}`,
  `${header('Undeliverable: Hello')}Your message\n\n  To: jo@example.net\n\ndid not reach the following recipient(s):\n\njo@example.net on Mon, 2 Mar 2026\n    MSEXCH:IMS:EX 0 (000C05A6) Unknown Recipient\n`,
  header('complaint', 'multipart/report; report-type=feedback-report; boundary="sep"') +
    part('text/plain', 'An abuse report') +
    part(
      'message/feedback-report',
      'Feedback-Type: abuse\nUser-Agent: FBL/1.0\nVersion: 1\nOriginal-Rcpt-To: <jo@example.net>\n',
    ) +
    part('message/rfc822', original) +
    '--sep--\n',
  header(
    'Report Domain: example.com Submitter: mx.example.net Report-ID: 1',
    'multipart/mixed; boundary="sep"',
  ) +
    part(
      'application/gzip; name="mx.example.net!example.com!1!2.xml.gz"',
      'H4sIAAAA',
      'Content-Transfer-Encoding: base64\n',
    ) +
    '--sep--\n',
  `${header('Automatic reply: Hello')}I am away. Ask <ann@example.net>.\n`,
  header('Returned mail', 'multipart/mixed; boundary="out"') +
    `--out\nContent-Type: text/plain\n\nThe mail is attached.\n--out\nContent-Type: message/rfc822\n\n${header('Undeliverable', report)}${part('message/delivery-status', status)}--sep--\n--out--\n`,
  `${header('=?iso-2022-jp?B?GyRCRyQbKEI=?=', 'text/plain; charset=iso-2022-jp')}\u001b$B%a!<%k\u001b(B jo@example.net 550 user unknown\n`,
]

/** What readers have stumbled over, or may. */
const words = [
  ...[
    '--sep',
    '--sep--',
    '\n',
    '\n\n',
    '\r',
    '\r\n',
    '\0',
    '<',
    '>',
    '@',
    '"',
    '(',
    ':',
    ';',
    '=',
    '=\n',
    '=?',
    '?=',
  ],
  ...[
    'Content-Type: multipart/mixed; boundary="x"\n',
    'Content-Type: message/rfc822\n',
    'Content-Transfer-Encoding: base64\n',
  ],
  ...[
    'Content-Transfer-Encoding: quoted-printable\n',
    'Final-Recipient: rfc822; ',
    'Diagnostic-Code: smtp; ',
    'Status: 5.',
  ],
  ...[
    '>>> RCPT TO:<',
    '<<< 550 ',
    '550 5.1.1 ',
    '550-',
    'a@b.example',
    '<a@b.example>: ',
    '=?utf-8?B?gA==?=',
    '&#55296;',
    '<style>',
  ],
  ...[
    'X-Failed-Recipients: ',
    'b-',
    '\u{1F4A9}',
    '不明',
    'mailbox ',
    'user unknown',
    'could not be delivered to ',
  ],
]

/** Changes a mail in one to eight places; it may grow to some 300 KB. */
export function mutate(mail: Buffer, others: readonly Buffer[], random: () => number): Buffer {
  const below = (limit: number) => Math.floor(random() * limit)
  const pick = <T>(list: readonly T[]): T => list[below(list.length)] as T
  let changed = mail
  for (let times = 1 + below(8); times > 0; times--) {
    const at = below(changed.length + 1)
    const end = Math.min(changed.length, at + below(random() < 0.2 ? changed.length : 80))
    changed = changeAt(changed, at, end, { pick, below, others })
    if (changed.length > 300_000) changed = changed.subarray(0, 300_000)
  }
  return changed
}

interface Dice {
  pick<T>(list: readonly T[]): T
  below(limit: number): number
  others: readonly Buffer[]
}

function changeAt(mail: Buffer, at: number, end: number, { pick, below, others }: Dice): Buffer {
  const [before, piece, after] = [mail.subarray(0, at), mail.subarray(at, end), mail.subarray(end)]
  const noise = () => Buffer.from(Array.from({ length: 1 + below(40) }, () => below(256)))
  const changes: (() => Buffer[])[] = [
    () => [before, after],
    () => [before, noise(), piece, after],
    () => [before, noise(), after],
    () => [before, Buffer.from(pick(words)), piece, after],
    () => [before, Buffer.from(pick(words).repeat(1 + below(below(20) === 0 ? 20_000 : 20))), piece, after],
    () => [before, piece, piece, after],
    () => [before, ...Array.from({ length: below(below(20) === 0 ? 2_000 : 10) }, () => piece), after],
    () => [before, pick(others).subarray(below(500)), after],
    () => [before],
    () => [
      Buffer.from(mail.toString('latin1').replaceAll('\n', pick(['\r\n', '\r', '\n\n', ' \n'])), 'latin1'),
    ],
  ]
  return Buffer.concat(pick(changes)())
}
