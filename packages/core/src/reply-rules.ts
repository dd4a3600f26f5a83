/**
 * Rules for what receiving servers say: which reply means which reason (`rules/replies.yaml`).
 *
 * A rule is data: conditions, of which all must hold, and what it then means. The first rule that matches a reply decides, so
 * what is specific stands before what is general. Every rule carries the raw line that taught it, and is tested with it.
 *
 * Replies come from anybody, so matching has to be linear in their length: a `text` pattern is a regular expression without
 * unbounded repetition, look-around or back-reference, and without repetition inside a repeated group.
 */
import type { SmtpReply } from '@valija/mail'
import { type DataFile, type DataPath, readShippedFile, type ShippedFile } from './data-file.ts'
import { type Action, actions, type Blame, blames } from './disposition.ts'
import { type BounceType, bounceTypes } from './events.ts'
import { type Reason, reasons } from './reasons.ts'
import { type Phase, phases } from './transaction.ts'

/** What a reply that the rule matches means. What is null follows from the reason. */
export interface RuleMeaning {
  reason: Reason
  blame: Blame | null
  action: Action | null
  bounceType: BounceType | null
}

export interface ReplyRule extends RuleMeaning {
  /** The raw lines that taught it, as a server sent them. */
  lines: readonly string[]
  /** The phases that it is about; null: all. */
  phases: readonly Phase[] | null
  matches(reply: SmtpReply, phase: Phase, host: string | null): boolean
}

/** A rule file that cannot be used. */
export class ReplyRulesError extends Error {
  override name = 'ReplyRulesError'
}

/** The rules that come with Valija. */
export function loadReplyRules(name: Exclude<ShippedFile, 'shaping'> = 'replies'): ReplyRule[] {
  return readReplyRules(readShippedFile(name))
}

/** @throws {ReplyRulesError} at the first fault, as `name:line: what is wrong` */
export function readReplyRules({ content, faults, placeOf }: DataFile): ReplyRule[] {
  const [fault] = faults
  if (fault) throw new ReplyRulesError(`${fault.place}: ${fault.message}`)
  const fail: Fail = (path, message) => {
    throw new ReplyRulesError(`${placeOf(path)}: ${message}`)
  }
  if (!Array.isArray(content)) return fail([], 'the file must be a list of rules')
  return content.map((rule: unknown, index) => {
    if (!isMap(rule)) return fail([index], 'a rule must be a map')
    return readRule(rule, index, fail)
  })
}

type Fail = (path: DataPath, message: string) => never

type RuleMap = Readonly<Record<string, unknown>>

function isMap(value: unknown): value is RuleMap {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function readRule(map: RuleMap, index: number, fail: Fail): ReplyRule {
  for (const field of Object.keys(map)) {
    if (!fields.has(field)) fail([index, field], `"${field}" is no field of a rule`)
  }
  const reader = fieldReader(map, index, fail)
  const lines = reader.list('line')
  if (lines.length === 0) fail([index], 'a rule needs the "line" that taught it')
  const conditions = [
    ...condition(reader.each('code', readCode), (codes) => (reply) => anyHolds(codes, reply.code)),
    ...condition(
      reader.each('status', readStatus),
      (statuses) => (reply) => reply.enhanced !== null && anyHolds(statuses, reply.enhanced),
    ),
    ...condition(
      reader.each('host', readHost),
      (hosts) => (_reply, host) => host !== null && anyHolds(hosts, host),
    ),
    ...condition(reader.each('text', readText), (texts) => (reply) => anyHolds(texts, reply.text)),
  ]
  if (conditions.length === 0) fail([index], 'a rule needs a condition: text, status, code or host')
  const at = reader.list('phase').map((phase) => reader.oneOf('phase', phase, phases))
  return {
    lines,
    phases: at.length === 0 ? null : at,
    matches: (reply, phase, host) =>
      (at.length === 0 || at.includes(phase)) && conditions.every((holds) => holds(reply, host)),
    reason: reader.choice('reason', reasons) ?? fail([index], 'a rule needs a "reason"'),
    blame: reader.choice('blame', blames),
    action: reader.choice('action', actions),
    bounceType: reader.choice('bounce_type', bounceTypes),
  }
}

const fields = new Set([
  ...['line', 'phase', 'code', 'status', 'host', 'text', 'reason', 'blame', 'action', 'bounce_type'],
])

type Holds<T> = (value: T) => boolean
type Condition = (reply: SmtpReply, host: string | null) => boolean

function anyHolds<T>(tests: readonly Holds<T>[], value: T): boolean {
  return tests.some((holds) => holds(value))
}

/** No condition where the field is absent. */
function condition<T>(tests: readonly Holds<T>[], make: (tests: readonly Holds<T>[]) => Condition) {
  return tests.length === 0 ? [] : [make(tests)]
}

function fieldReader(map: RuleMap, index: number, fail: Fail) {
  const list = (field: string): string[] => {
    const value = map[field]
    if (value === undefined) return []
    const items: unknown[] = Array.isArray(value) ? value : [value]
    return items.map((item) => {
      if (typeof item === 'string' || typeof item === 'number') return String(item)
      return fail([index, field], `"${field}" must be a text or a list of texts`)
    })
  }
  const oneOf = <T extends string>(field: string, value: string, allowed: readonly T[]): T => {
    if ((allowed as readonly string[]).includes(value)) return value as T
    return fail([index, field], `"${field}" is one of ${allowed.join(', ')}; not ${value}`)
  }
  return {
    list,
    oneOf,
    choice: <T extends string>(field: string, allowed: readonly T[]): T | null => {
      const [value, second] = list(field)
      if (second !== undefined) fail([index, field], `"${field}" takes one value`)
      return value === undefined ? null : oneOf(field, value, allowed)
    },
    each: <T>(field: string, read: (value: string) => T | string): T[] =>
      list(field).map((value) => {
        const result = read(value)
        return typeof result === 'string' ? fail([index, field], result) : result
      }),
  }
}

/** `4xx`, `5xx` or `421`. */
function readCode(value: string): Holds<number> | string {
  if (!/^[45](?:xx|\d\d)$/.test(value)) return `"code" is 4xx, 5xx or a code such as 421; not ${value}`
  const [low, high] = value.endsWith('xx')
    ? [Number(value[0]) * 100, Number(value[0]) * 100 + 99]
    : [Number(value), Number(value)]
  return (code) => code >= low && code <= high
}

/** `5.7.1`, `x.2.2` for both classes, `5.7.606-649` for a range of details, `5.1.x` for all. */
function readStatus(value: string): Holds<string> | string {
  const match = /^([45x])\.(\d{1,3})\.(?:(\d{1,3})(?:-(\d{1,3}))?|x)$/.exec(value)
  if (match === null) return `"status" is such as 5.7.1, x.2.2, 5.7.606-649 or 5.1.x; not ${value}`
  const [, class_, subject, first, last] = match
  const low = first === undefined ? 0 : Number(first)
  const high = first === undefined ? 999 : Number(last ?? first)
  return (status) => {
    const [ofClass, ofSubject, detail] = status.split('.')
    const number = Number(detail)
    return (class_ === 'x' || class_ === ofClass) && subject === ofSubject && number >= low && number <= high
  }
}

/** The end of an MX name: `.google.com`; a name without a dot in front is that host alone. */
function readHost(value: string): Holds<string> {
  const name = value.toLowerCase()
  return name.startsWith('.')
    ? (host) => host.toLowerCase().endsWith(name)
    : (host) => host.toLowerCase() === name
}

/** Unbounded or nested repetition, look-around, back-references: what can make matching slower than linear, or hard to read. */
const slowSyntax = /(?:^|[^\\])(?:\\\\)*(?:[*+]|\{\d+,\}|\{\d{3,}|\{\d+,\d{3,}|\)\{|\(\?[=!<]|\\[1-9k])/

/** Product of the bounds of a pattern's repetitions: so many times its length is what matching a text may cost. */
const widestGap = 2_000

function readText(value: string): Holds<string> | string {
  if (slowSyntax.test(value)) {
    return `"text" may not repeat without bound, repeat a group, look around or refer back: ${value}`
  }
  const gaps = [...value.matchAll(/\{\d+,(\d+)\}/g)].map((match) => Number(match[1]))
  if (gaps.reduce((product, gap) => product * gap, 1) > widestGap) {
    return `the repetitions of a "text" may have ${widestGap} ways in all: ${value}`
  }
  try {
    const pattern = new RegExp(value, 'iu')
    return (text) => pattern.test(text)
  } catch (error) {
    return `"text" is no regular expression: ${(error as Error).message}`
  }
}
