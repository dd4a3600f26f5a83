/**
 * LiquidJS, locked down: sources from memory only, own properties only, known filters and tags only, and every render within a budget.
 * One engine is for one set of layouts and partials; html is escaped, subject and text are not.
 */
import { Context, type FS, Liquid, type Template, toValueSync } from 'liquidjs'
import { BoundedOutput } from './bounded-text.ts'
import type { TemplateSource } from './render-job.ts'
import { type RenderBudget, renderLimits } from './render-limits.ts'
import { refusedFilters, templateFilters } from './template-filters.ts'
import { type FoundReference, registerTags } from './template-tags.ts'

export interface Engine {
  /** @throws what LiquidJS throws: all that is wrong with it (liquid-faults.ts) */
  parse(slug: string, source: string): ParsedSource
  /** Of a layout or partial of this engine; parsed once. @throws the same */
  parsePart(slug: string, kind: 'layout' | 'partial'): ParsedSource
  /** Of the layout or partial with this source; LiquidJS names no file where a variable is missing. Null: none has it. */
  slugOfSource(source: string): string | null
  /** The layouts and partials that it holds. */
  parsedParts(): Iterable<ParsedSource>
  /** @throws the same */
  render(templates: Template[], variables: object, budget: RenderBudget): string
  /** The names that it expects to be given, with their lines; of itself, without what it uses. */
  variablesOf(templates: Template[]): { name: string; line: number }[]
}

export interface ParsedSource {
  templates: Template[]
  references: FoundReference[]
}

/**
 * @param field which source of layouts and partials it takes
 * @param parts the layouts and partials that there are
 */
export function createEngine(field: 'text' | 'html', parts: readonly TemplateSource[]): Engine {
  let found: FoundReference[] = []
  const liquid = openLiquid(field, parts, (reference) => found.push(reference))
  const noting = (parse: () => Template[]): ParsedSource => {
    found = []
    return { templates: parse(), references: found }
  }
  const parsedParts = new Map<string, ParsedSource>()
  return {
    parse: (slug, source) => noting(() => liquid.parse(source, slug)),
    parsePart: (slug, kind) => {
      const name = `${kind} ${slug}`
      const known = parsedParts.get(name)
      if (known) return known
      const load = kind === 'layout' ? '_parseLayoutFile' : '_parsePartialFile'
      const parsed = noting(() => toValueSync(liquid[load](slug, true)))
      parsedParts.set(name, parsed)
      return parsed
    },
    slugOfSource: (text) => parts.find((part) => part[field] === text)?.slug ?? null,
    parsedParts: () => parsedParts.values(),
    render: (templates, variables, budget) => {
      // LiquidJS's own limiter counts time by the wall, and words it otherwise.
      const limits = { renderLimit: budget, memoryLimit: budget } as unknown as Limits
      const context = new Context(variables, liquid.options, { sync: true }, { ...limits, liquid })
      const output = new BoundedOutput()
      toValueSync(liquid.renderer.renderTemplates(templates, context, output))
      return output.buffer
    },
    variablesOf: (templates) => {
      const { globals } = liquid.analyzeSync(templates, { partials: false })
      return Object.entries(globals).map(([name, uses]) => ({ name, line: uses[0]?.location.row ?? 1 }))
    },
  }
}

type Limits = Pick<Context, 'renderLimit' | 'memoryLimit'>

const folders = { layout: 'layouts', partial: 'partials' } as const

function fileName({ kind, slug }: TemplateSource): string {
  return kind === 'template' ? slug : `${folders[kind]}/${slug}`
}

/** The slug of what LiquidJS calls a file. */
export function slugOf(file: string): string {
  return file.slice(file.lastIndexOf('/') + 1)
}

function openLiquid(
  field: 'text' | 'html',
  parts: readonly TemplateSource[],
  note: (reference: FoundReference) => void,
): Liquid {
  const isHtml = field === 'html'
  const sources = parts.flatMap((part) =>
    part[field] === null ? [] : [[fileName(part), part[field]] as const],
  )
  const liquid = new Liquid({
    fs: memoryOf(new Map(sources)),
    root: [],
    layouts: [folders.layout],
    partials: [folders.partial],
    cache: true,
    relativeReference: false,
    ownPropertyOnly: true,
    strictFilters: true,
    strictVariables: true,
    lenientIf: true,
    catchAllErrors: true,
    parseLimit: renderLimits.sourceCharacters,
    // Mails are read where nobody knows.
    timezoneOffset: 0,
    locale: 'en-US',
    ...(isHtml && { outputEscape: 'escape' as const }),
  })
  for (const name of refusedFilters()) liquid.unregisterFilter(name)
  for (const [name, filter] of Object.entries(templateFilters(isHtml))) liquid.registerFilter(name, filter)
  registerTags(liquid, note)
  boundInner(liquid)
  return liquid
}

/** In place of a file system. */
function memoryOf(sources: ReadonlyMap<string, string>): FS {
  const existsSync = (file: string) => sources.has(file)
  const readFileSync = (file: string) => sources.get(file) ?? ''
  return {
    existsSync,
    readFileSync,
    exists: async (file) => existsSync(file),
    readFile: async (file) => readFileSync(file),
    resolve: (folder, name) => `${folder}/${name}`,
  }
}

/** What captures, layouts and blocks render into is bounded as well. */
function boundInner({ renderer }: Liquid): void {
  const render = renderer.renderTemplates.bind(renderer)
  renderer.renderTemplates = (templates, context, output = new BoundedOutput()) =>
    render(templates, context, output)
}
