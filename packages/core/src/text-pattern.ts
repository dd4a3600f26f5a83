/**
 * Patterns for what receiving servers say, as rule files write them: plain text, case ignored, runs of spaces alike, in which
 * `*` stands for anything. Matched by searching one piece after the other, so a hostile reply costs no more than its length:
 * no regular expression is made of what a file says.
 */

/** Says whether a reply's text contains the pattern. */
export type TextPattern = (text: string) => boolean

/**
 * @param source such as `messages from * temporarily deferred`
 * @throws {RangeError} when nothing is left to look for
 */
export function compileTextPattern(source: string): TextPattern {
  const pieces = normalize(source)
    .split('*')
    .map((piece) => piece.trim())
    .filter((piece) => piece !== '')
  if (pieces.length === 0) throw new RangeError('is a pattern without any text')
  return (text) => containsInOrder(normalize(text), pieces)
}

function containsInOrder(text: string, pieces: readonly string[]): boolean {
  let from = 0
  for (const piece of pieces) {
    const at = text.indexOf(piece, from)
    if (at < 0) return false
    from = at + piece.length
  }
  return true
}

function normalize(text: string): string {
  return text.toLowerCase().replace(/\s+/g, ' ')
}
