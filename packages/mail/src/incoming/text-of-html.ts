/** The words of an HTML page, good enough to look for phrases in. The time taken grows with its length. */

/** Elements that end a line where they begin or end. */
const BLOCK = /^\/?(?:p|br|div|tr|li|ul|ol|h[1-6]|table|pre|hr|title|body)\b/i
const ENTITIES: Readonly<Record<string, string>> = {
  amp: '&',
  lt: '<',
  gt: '>',
  quot: '"',
  apos: "'",
  nbsp: ' ',
}

export function textOfHtml(html: string): string {
  const pieces: string[] = []
  let at = 0
  while (at < html.length) {
    const open = html.indexOf('<', at)
    const close = open < 0 ? -1 : html.indexOf('>', open)
    if (close < 0) break
    pieces.push(html.slice(at, open))
    const tag = html.slice(open + 1, Math.min(close, open + 20))
    pieces.push(BLOCK.test(tag) ? '\n' : /^\/?t[dh]\b/i.test(tag) ? ' ' : '')
    at = /^(?:style|script)\b/i.test(tag) ? endOfHidden(html, close, tag) : close + 1
  }
  pieces.push(html.slice(at))
  return decodeEntities(pieces.join(''))
}

/** Where what follows a style or script begins. */
function endOfHidden(html: string, from: number, tag: string): number {
  const name = /^script/i.test(tag) ? 'script' : 'style'
  const lower = html.indexOf(`</${name}`, from)
  const upper = lower < 0 ? html.indexOf(`</${name.toUpperCase()}`, from) : lower
  return upper < 0 ? html.length : upper
}

function decodeEntities(text: string): string {
  return text.replace(/&(?:#(\d{1,7})|#x([\da-f]{1,6})|([a-z]{2,8}));/gi, (whole, decimal, hex, name) => {
    if (name !== undefined) return ENTITIES[String(name).toLowerCase()] ?? whole
    const point = decimal === undefined ? Number.parseInt(hex, 16) : Number(decimal)
    return point > 0 && point <= 0x10ffff ? String.fromCodePoint(point) : whole
  })
}
