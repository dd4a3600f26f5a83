/** What a file says of itself in the comment that it begins with: the programs of `npm run` show it as their help. */

/** The text of a source's leading block comment, without stars; empty when it has none. */
export function headerComment(source: string): string {
  const [, comment = ''] = /^(?:#!.*\n)?\s*\/\*\*([\s\S]*?)\*\//.exec(source) ?? []
  return comment.replaceAll(/^[ \t]*\* ?/gm, '').trim()
}

/** The first sentence of a text, in one line. A point inside a word or number, as in `t-01.test.ts`, ends none. */
export function firstSentence(text: string): string {
  const [paragraph = ''] = text.split(/\n\s*\n/)
  return /^.*?(?:[.!?](?=\s)|$)/.exec(paragraph.replaceAll(/\s+/g, ' ').trim())?.[0] ?? ''
}
