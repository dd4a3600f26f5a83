/**
 * A template with its layouts and partials, parsed once and rendered often. All is judged that can be judged without variables: syntax,
 * missing parts, circles. Runs in a thread (render-thread.ts).
 */
import type { Template } from 'liquidjs'
import { htmlToPlain } from './html-to-plain.ts'
import { createEngine, type Engine, type ParsedSource } from './liquid-engine.ts'
import { readFaults } from './liquid-faults.ts'
import type {
  RenderOutcome,
  TemplateBundle,
  TemplateFault,
  TemplateInspection,
  TemplatePart,
  TemplateSource,
  TemplateVariables,
} from './render-job.ts'
import { RenderBudget, renderLimits } from './render-limits.ts'
import type { FoundReference } from './template-tags.ts'

export interface CompiledTemplate {
  /** Of its sources: what it renders to then. */
  faults: readonly TemplateFault[]
  /** What was parsed, to be weighed (kept-templates.ts). */
  parsed(): unknown[]
  render(variables: TemplateVariables, cpuMs: number): RenderOutcome
}

interface CompiledPart {
  engine: Engine
  templates: Template[]
}

type CompiledParts = Partial<Record<TemplatePart, CompiledPart>>

const partNames: readonly TemplatePart[] = ['subject', 'text', 'html']

export function compileTemplate({ root, parts }: TemplateBundle): CompiledTemplate {
  const engines = { plain: createEngine('text', parts), html: createEngine('html', parts) }
  const faults: TemplateFault[] = []
  const compiled: CompiledParts = {}
  for (const part of partNames) {
    const source = root[part]
    if (source === null) continue
    const engine = part === 'html' ? engines.html : engines.plain
    const judge = createJudge(engine, part)
    const templates = judge.root(root.slug, source)
    faults.push(...judge.faults)
    if (templates) compiled[part] = { engine, templates }
  }
  const parsed = () => [
    faults,
    ...Object.values(compiled).map(({ templates }) => templates),
    ...Object.values(engines).flatMap((engine) => [...engine.parsedParts()]),
  ]
  if (faults.length > 0) return { faults, parsed, render: () => ({ kind: 'faulty', faults }) }
  return {
    faults,
    parsed,
    render: (variables, cpuMs) => renderParts(root.slug, compiled, { variables, cpuMs }),
  }
}

/** What a source says of itself, without what it uses. */
export function inspectTemplate(source: TemplateSource): TemplateInspection {
  const inspection: TemplateInspection = { faults: [], references: [], variables: [] }
  const seen = new Set<string>()
  for (const part of partNames) {
    const text = source[part]
    if (text === null) continue
    const engine = createEngine(part === 'html' ? 'html' : 'text', [])
    try {
      const { templates, references } = engine.parse(source.slug, text)
      inspection.references.push(...references.map((reference) => ({ ...reference, part })))
      for (const { name, line } of engine.variablesOf(templates)) {
        if (!seen.has(name)) inspection.variables.push({ name, part, line })
        seen.add(name)
      }
    } catch (error) {
      inspection.faults.push(...readFaults(error, source.slug, part))
    }
  }
  return inspection
}

/** Parses a part with all that it uses, each source once, and gathers what is wrong. */
function createJudge(engine: Engine, part: TemplatePart) {
  const faults: TemplateFault[] = []
  /** How many layouts and partials are in one another below it; null: it is being looked at. */
  const depths = new Map<string, number | null>()
  const tell = (slug: string, line: number, message: string) =>
    faults.push({ slug, part, line, variable: null, message })

  const note = ({ references }: ParsedSource, slug: string): number => {
    const below = references.map((reference) => depthOf(reference, slug))
    return 1 + Math.max(0, ...below)
  }
  const depthOf = (reference: FoundReference, by: string): number => {
    const { slug, kind, line } = reference
    const name = `${kind} ${slug}`
    const known = depths.get(name)
    if (known === null) tell(by, line, `The ${kind} "${slug}" uses itself.`)
    if (known !== undefined) return known ?? 0
    depths.set(name, null)
    const depth = parse(reference, by)
    depths.set(name, depth)
    if (depth === renderLimits.depth)
      tell(by, line, `More than ${renderLimits.depth} layouts and partials are in one another.`)
    return depth
  }
  const parse = ({ slug, kind, line }: FoundReference, by: string): number => {
    try {
      return note(engine.parsePart(slug, kind), slug)
    } catch (error) {
      const has = part === 'html' ? 'html' : 'text'
      if (isAbsent(error))
        tell(by, line, `There is no ${kind} "${slug}" with a published version that has ${has}.`)
      else faults.push(...readFaults(error, slug, part))
      return 1
    }
  }
  const root = (slug: string, source: string): Template[] | null => {
    try {
      const parsed = engine.parse(slug, source)
      note(parsed, slug)
      return parsed.templates
    } catch (error) {
      faults.push(...readFaults(error, slug, part))
      return null
    }
  }
  return { faults, root }
}

function isAbsent(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === 'ENOENT'
}

function renderParts(
  slug: string,
  compiled: CompiledParts,
  { variables, cpuMs }: { variables: TemplateVariables; cpuMs: number },
): RenderOutcome {
  const budget = new RenderBudget(cpuMs)
  const faults: TemplateFault[] = []
  const { watched, read } = watchReads(variables)
  const renderPart = (part: TemplatePart): string | null => {
    const found = compiled[part]
    if (found === undefined || budget.over !== null) return null
    try {
      return found.engine.render(found.templates, watched, budget)
    } catch (error) {
      faults.push(...readFaults(error, slug, part, found.engine.slugOfSource))
      return null
    }
  }
  const subject = renderPart('subject')
  const inSubject = [...read]
  const [text, html] = [renderPart('text'), renderPart('html')]
  if (faults.length > 0) return { kind: 'faulty', faults: withoutRepeated(faults) }
  const unused = Object.keys(variables).filter((name) => !read.has(name))
  const plain = text ?? (html === null ? null : htmlToPlain(html))
  return { kind: 'rendered', rendering: { subject, text: plain, html, inSubject, unused } }
}

/** A variable that is missing is told once, where it is asked for first. */
function withoutRepeated(faults: readonly TemplateFault[]): TemplateFault[] {
  const told = new Set<string>()
  return faults.filter(({ variable }) => {
    const name = variable?.join('.')
    if (name === undefined) return true
    const isNew = !told.has(name)
    told.add(name)
    return isNew
  })
}

/** The variables, and which of them were asked for. */
function watchReads(variables: TemplateVariables) {
  const read = new Set<string>()
  const own: object = Object.assign(Object.create(null), variables)
  const has = (target: object, name: string | symbol) => {
    if (typeof name === 'string') read.add(name)
    return name in target
  }
  return { watched: new Proxy(own, { has }), read }
}
