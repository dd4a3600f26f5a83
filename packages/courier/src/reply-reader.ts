/**
 * Makes complete replies of what comes over the wire (RFC 5321 §4.2.1), within bounds: whoever sends more is not an SMTP server.
 *
 * Lines may end in LF alone. A line that begins with a code and a hyphen is continued; every other ends the reply, also one that
 * is no reply at all, which is for the reader's owner to judge.
 */
import { isUtf8 } from 'node:buffer'

/** A whole reply, in octets. */
const maxReplyBytes = 64 * 1024

/** RFC 5321 §4.5.3.1.5 allows 512 octets; long help links make some servers say more. */
const maxLineBytes = 2_048

const maxReplyLines = 512

export class ReplyReader {
  /** An unfinished line: octets as characters. */
  #rest = ''
  #lines: string[] = []
  #sizeBytes = 0

  /** Nothing of a reply has come that is not complete yet. */
  get isEmpty(): boolean {
    return this.#rest === '' && this.#lines.length === 0
  }

  /**
   * @param onReply called with the lines of each reply that is complete now, without their line ends
   * @returns false once a bound is passed: nothing that follows can be trusted
   */
  read(chunk: Buffer, onReply: (lines: string[]) => void): boolean {
    const text = this.#rest + chunk.toString('latin1')
    let at = 0
    for (;;) {
      const end = text.indexOf('\n', at)
      if (end < 0) break
      const line = text.slice(at, text[end - 1] === '\r' && end > at ? end - 1 : end)
      at = end + 1
      // Empty lines are nothing, but they count: without a bound they could go on until the deadline.
      this.#sizeBytes += line.length + 1
      if (line !== '') this.#lines.push(line)
      if (!this.#isWithinBounds(line.length)) return false
      if (line === '' || /^\d{3}-/.test(line)) continue
      const lines = this.#lines
      this.#lines = []
      this.#sizeBytes = 0
      onReply(lines.map(decode))
    }
    this.#rest = text.slice(at)
    return this.#isWithinBounds(this.#rest.length)
  }

  #isWithinBounds(lineBytes: number): boolean {
    if (lineBytes > maxLineBytes || this.#lines.length > maxReplyLines) return false
    return this.#sizeBytes + lineBytes <= maxReplyBytes
  }
}

/** Replies have no declared charset: UTF-8 where it is that, else octets as they are. */
function decode(line: string): string {
  if (/^[ -~]*$/.test(line)) return line
  const octets = Buffer.from(line, 'latin1')
  return isUtf8(octets) ? octets.toString('utf8') : line
}
