/**
 * The filters that templates have: those of LiquidJS without the ones that evaluate text as code (`where_exp` and its like), and those that
 * give another result each time, which a mail must not. None is handed values without bound.
 */
import { filters, type Liquid } from 'liquidjs'
import { checkLength } from './bounded-text.ts'
import { LimitError, renderLimits } from './render-limits.ts'

type FilterImplOptions = Liquid['filters'][string]
type Handler = Extract<FilterImplOptions, (...args: never[]) => unknown>

const refused: ReadonlySet<string> = new Set(['sample', 'inspect'])

/** @param isHtml whether what is written is escaped, unless the last filter did */
export function templateFilters(isHtml: boolean): Record<string, FilterImplOptions> {
  const all = Object.entries(filters as Record<string, FilterImplOptions>)
    .filter(([name]) => !refused.has(name) && !name.endsWith('_exp'))
    .map(([name, filter]) => [name, bind(name, filter)] as const)
  const own = { strip_html: bound(stripHtml), ...(isHtml && htmlFilters()) }
  return { ...Object.fromEntries(all), ...own }
}

/** Names of LiquidJS's filters that templates do not have. */
export function refusedFilters(): string[] {
  return Object.keys(filters).filter((name) => refused.has(name) || name.endsWith('_exp'))
}

function bind(name: string, filter: FilterImplOptions): FilterImplOptions {
  if (typeof filter !== 'function') return { ...filter, handler: bound(filter.handler) }
  return bound(name.startsWith('date') ? withShortFormat(filter) : filter)
}

function bound(handler: Handler): Handler {
  return function (this, value, ...args) {
    checkLength(value)
    for (const arg of args) checkLength(arg)
    return handler.call(this, value, ...args)
  }
}

function withShortFormat(handler: Handler): Handler {
  return function (this, value, ...args) {
    for (const given of [value, ...args])
      if (typeof given === 'string' && given.length > renderLimits.dateFormatCharacters)
        throw new LimitError('A date or its format is too long.')
    return handler.call(this, value, ...args)
  }
}

/** In html a value that was escaped by the template is not escaped again, and line breaks are made after escaping. */
function htmlFilters(): Record<string, FilterImplOptions> {
  const { escape: escapeAll, escape_once: escapeOnce } = filters as Record<string, Handler>
  const escaping = { escape: escapeAll!, xml_escape: escapeAll!, escape_once: escapeOnce! }
  const raw = Object.entries(escaping).map(([name, handler]) => [
    name,
    { raw: true, handler: bound(handler) },
  ])
  const handler = bound(function (this, value) {
    return String(escapeOnce!.call(this, value)).replaceAll(/\r?\n/g, '<br />\n')
  })
  return { ...Object.fromEntries(raw), newline_to_br: { raw: true, handler } }
}

/** Elements whose content is no text: how they begin and end. Without the flag u only ASCII letters are compared as such. */
const silent = [
  { begin: /<script/iy, end: /<\/script>/gi },
  { begin: /<style/iy, end: /<\/style>/gi },
]

/** What is between tags, in one pass: the expressions of LiquidJS take the square of the length. */
function stripHtml(value: unknown): string {
  const html = value === null || value === undefined ? '' : String(value)
  let text = ''
  let at = 0
  while (at < html.length) {
    const open = html.indexOf('<', at)
    if (open === -1) break
    text += html.slice(at, open)
    const close = endOfTag(html, open)
    if (close === -1) return text + html.slice(open)
    at = close
  }
  return text + html.slice(at)
}

/** @returns where it goes on behind the tag, comment or silent element; -1: nowhere */
function endOfTag(html: string, open: number): number {
  const isAt = (begin: RegExp) => {
    begin.lastIndex = open
    return begin.test(html)
  }
  const element = silent.find(({ begin }) => isAt(begin))
  if (element !== undefined) {
    element.end.lastIndex = open
    return element.end.test(html) ? element.end.lastIndex : -1
  }
  const last = html.startsWith('<!--', open) ? '-->' : '>'
  const end = html.indexOf(last, open)
  return end === -1 ? -1 : end + last.length
}
