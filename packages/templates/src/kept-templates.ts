/**
 * The parsed templates that a thread keeps, by what they weigh in memory and not by their length: `{{a}}` takes 200 times as much as text.
 * Those go first that were used longest ago, and no tenant has more than its share.
 */
import { type CompiledTemplate, compileTemplate } from './compile-template.ts'
import type { TemplateBundle } from './render-job.ts'

/** Octets of memory, of the 128 MB that a thread has (thread.ts): the rest is for what is being parsed and rendered. */
export const keptLimits = { total: 40_000_000, ofTenant: 20_000_000 } as const

/** Measured with sources of tags, steps, filters, arguments and conditions: 66 to 89 octets. */
const bytesOfObject = 90
/** What two engines take before anything is parsed: 25 to 30 KB. */
const bytesOfEngines = 30_000
const mostObjects = Math.ceil(keptLimits.ofTenant / bytesOfObject)

interface Entry {
  tenantId: string
  template: CompiledTemplate
  bytes: number
}

export interface KeptTemplates {
  /** Parsed now, or before. */
  get(tenantId: string, bundle: TemplateBundle): CompiledTemplate
  /** Of all that is kept. */
  readonly bytes: number
}

export function createKeptTemplates(): KeptTemplates {
  const entries = new Map<string, Entry>()
  const bytesOf = (tenantId?: string) =>
    [...entries.values()].reduce(
      (sum, entry) => (tenantId === undefined || entry.tenantId === tenantId ? sum + entry.bytes : sum),
      0,
    )
  /** @param current the one that stays, however heavy: many renders with it are done in slices */
  const makeRoom = (current: string | null) => {
    for (const [key, { tenantId }] of entries) {
      if (key === current) continue
      if (bytesOf() > keptLimits.total || bytesOf(tenantId) > keptLimits.ofTenant) entries.delete(key)
    }
  }
  return {
    get: (tenantId, bundle) => {
      const known = entries.get(bundle.key)
      // Before it is parsed: what was too heavy to be kept would be in its way.
      if (known === undefined) makeRoom(null)
      const template = known?.template ?? compileTemplate(bundle)
      // The one that was used last is the last.
      entries.delete(bundle.key)
      entries.set(bundle.key, known ?? { tenantId, template, bytes: weigh(template, bundle) })
      makeRoom(bundle.key)
      return template
    },
    get bytes() {
      return bytesOf()
    },
  }
}

function weigh(template: CompiledTemplate, { root, parts }: TemplateBundle): number {
  const characters = [root, ...parts].reduce(
    (sum, { subject, text, html }) =>
      sum + (subject?.length ?? 0) + (text?.length ?? 0) + (html?.length ?? 0),
    0,
  )
  return bytesOfEngines + 2 * characters + bytesOfObject * countObjects(template.parsed())
}

/** Those that can be reached, each once; not all of them, when it is too heavy to be kept anyway. */
function countObjects(roots: unknown[]): number {
  const seen = new Set<object>()
  const waiting = roots
  while (waiting.length > 0 && seen.size <= mostObjects) {
    const value = waiting.pop()
    if (typeof value !== 'object' || value === null || seen.has(value)) continue
    seen.add(value)
    for (const one of value instanceof Map ? value.values() : Object.values(value)) {
      if (typeof one === 'object' && one !== null) waiting.push(one)
    }
  }
  return seen.size
}
