/**
 * SMTP replies (RFC 5321 §4.2) with their enhanced status codes (RFC 2034, RFC 3463).
 *
 * A reply is read leniently, since it comes from any peer: the last line decides where the codes of a multi-line reply
 * differ, a lone code is a reply, and what does not begin with a code is no reply at all.
 */

/** A reply as a peer meant it. */
export interface SmtpReply {
  /** 200 to 599. */
  code: number
  /** Enhanced status such as `5.1.1`; null when there is none or its class contradicts the code (RFC 2034 §4). */
  enhanced: string | null
  /** The human text of all lines, joined by a space, without codes and statuses; at most 1,000 characters. */
  text: string
}

/** Long enough for every real refusal with its help link; a peer does not get to fill our database. */
const maxTextLength = 1000

/** RFC 5321 §4.2: three digits, then space, hyphen or the end of the line. Classes 2 to 5 are all that SMTP uses. */
const linePattern = /^([2-5]\d\d)(?:[ -](.*))?$/s

/** RFC 3463 §2: class "." subject "." detail. */
const statusPattern = /^([245])\.(\d{1,3})\.(\d{1,3})(?=\s|$)/

/**
 * Reads a reply.
 *
 * @param lines the reply's lines without their line ends, or the whole reply as one string
 * @returns null when it is not SMTP
 */
export function parseSmtpReply(lines: string | readonly string[]): SmtpReply | null {
  const list = (typeof lines === 'string' ? lines.split(/\r?\n/) : lines).filter((line) => line.trim() !== '')
  const texts: string[] = []
  let code: number | null = null
  let enhanced: string | null = null
  for (const line of list) {
    const match = linePattern.exec(line)
    if (match === null) return null
    const codeText = match[1] as string
    if (Number(codeText) !== code) enhanced = null
    code = Number(codeText)
    const rest = (match[2] ?? '').trim()
    const status = statusPattern.exec(rest)
    const isOurs = status !== null && status[1] === codeText[0]
    if (isOurs) enhanced = `${Number(status[1])}.${Number(status[2])}.${Number(status[3])}`
    const text = isOurs ? rest.slice(status[0].length).trim() : rest
    if (text !== '') texts.push(text)
  }
  return code === null ? null : { code, enhanced, text: boundText(texts.join(' ')) }
}

/** One line of printable text: control characters become spaces, surplus is cut without splitting a code point. */
function boundText(text: string): string {
  const clean = text.replace(/[\p{Cc}\p{Zl}\p{Zp}]+/gu, ' ').trim()
  if (clean.length <= maxTextLength) return clean
  return clean.slice(0, maxTextLength).replace(/[\uD800-\uDBFF]$/, '')
}

/** The reply on one line for people and logs: `550 5.1.1 No such user`. */
export function formatSmtpReply(reply: SmtpReply): string {
  return [String(reply.code), reply.enhanced, reply.text]
    .filter((part) => part !== null && part !== '')
    .join(' ')
}
