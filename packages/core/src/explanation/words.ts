/** Numbers, times and quotations as explanations write them. */

const units = [
  ['day', 86_400_000],
  ['h', 3_600_000],
  ['min', 60_000],
  ['s', 1_000],
] as const

/** `45 s`, `8 min`, `3 h 20 min`, `2 days`: the largest unit, and the next one where it is not 0. */
export function inWords(ms: number): string {
  let rest = Math.max(1_000, Math.round(ms / 1_000) * 1_000)
  const at = units.findIndex(([, size]) => rest >= size)
  const parts: string[] = []
  for (const [name, size] of units.slice(at, at + 2)) {
    const count = Math.floor(rest / size)
    rest -= count * size
    if (count > 0) parts.push(`${count} ${name}${name === 'day' && count > 1 ? 's' : ''}`)
  }
  return parts.join(' ')
}

/** `2026-11-25 14:05:09 UTC (in 8 min)`, or `(8 min ago)`. */
export function atTime(ms: number, nowMs: number): string {
  const absolute = `${new Date(ms).toISOString().slice(0, 19).replace('T', ' ')} UTC`
  const distance = inWords(Math.abs(ms - nowMs))
  return `${absolute} (${ms >= nowMs ? `in ${distance}` : `${distance} ago`})`
}

/** `1 mail`, `1,234 mails`. */
export function countOf(count: number, noun: string): string {
  return `${count.toLocaleString('en-US')} ${noun}${count === 1 ? '' : 's'}`
}

const longestQuote = 500

/** What somebody else said, in quotation marks. */
export function quoted(text: string): string {
  const cut =
    text.length > longestQuote ? `${text.slice(0, longestQuote).replace(/[\uD800-\uDBFF]$/, '')}…` : text
  return `“${cut}”`
}

/** What was answered, in quotation marks; what kept an answer from coming, as it is. */
export function answerOrFailure(text: string): string {
  return /^[2-5]\d\d\b/.test(text) ? quoted(text) : withoutStop(text)
}

/** With a full stop behind, where none is; for what follows a colon. */
export function withStop(text: string): string {
  return `${text.trim()}${/[.!?…”]$/.test(text.trim()) ? '' : '.'}`
}

function withoutStop(text: string): string {
  return text.trim().replace(/\.$/, '')
}

/** A text as a sentence: a capital in front, unless it begins with a name, and a full stop behind, where they are missing. */
export function asSentence(text: string): string {
  return withStop(withCapital(text.trim()))
}

/** Names of hosts stay as they are. */
export function withCapital(text: string): string {
  return /^\S*\./.test(text) ? text : `${text.slice(0, 1).toUpperCase()}${text.slice(1)}`
}
