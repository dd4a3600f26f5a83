/**
 * The bounded record of a conversation: commands and replies, never the body, never a password.
 */
import type { TranscriptLine } from '@valija/core'

/** Enough for a greeting, two long EHLO replies, a login and a mail; a hostile peer does not get to fill our database. */
const maxLines = 100
const maxLineLength = 500

export class Transcript {
  readonly lines: TranscriptLine[] = []
  /** When the attempt began: by the wall clock for people, by the monotonic one for durations. */
  readonly startedAt: Date
  readonly #origin: number
  readonly #maxLines: number

  /**
   * @param ageMs how long ago the attempt began
   * @param before lines of the attempt from before this conversation
   */
  constructor(ageMs = 0, before: readonly TranscriptLine[] = []) {
    this.startedAt = new Date(Date.now() - ageMs)
    this.#origin = performance.now() - ageMs
    this.lines.push(...before)
    this.#maxLines = before.length + maxLines
  }

  /** Milliseconds since the attempt began. */
  get ageMs(): number {
    return performance.now() - this.#origin
  }

  /** Notes a command or a reply of one or more lines. What exceeds the bounds is left out, and said to be. */
  add(from: TranscriptLine['from'], text: string): void {
    const t_ms = Math.round(this.ageMs)
    for (const part of text.split(/\r?\n/, maxLines)) {
      if (this.lines.length >= this.#maxLines) return
      const isLast = this.lines.length === this.#maxLines - 1
      const line = part.length > maxLineLength ? `${part.slice(0, maxLineLength - 1)}…` : part
      this.lines.push({ t_ms, from, line: isLast ? '… (the rest is left out)' : printable(line) })
    }
  }
}

/** PostgreSQL's text has no place for NUL and for lone surrogates, a terminal none for escapes. */
function printable(line: string): string {
  if (/^[ -~]*$/.test(line)) return line
  return line.replace(/\p{Cc}/gu, '\uFFFD').toWellFormed()
}
