/**
 * Templates on the way of a mail: find the version → its layouts and partials as they are published now → sources, mostly from memory →
 * variables → render, in a thread that can be ended. A message becomes one without a template, by whose rules it is judged then: what was
 * rendered is stored, so a retry has the same octets whatever becomes of the template.
 */
import { randomUUID } from 'node:crypto'
import {
  applyVariables,
  type Caller,
  type FieldFault,
  findBesideTemplateFaults,
  findRenderedFaults,
  invalidRequest,
  type MessageDraft,
  ProductError,
  type TemplateUse,
  type Uuid,
  validateMessage,
  withoutTemplate,
} from '@valija/core'
import { type AskedVersion, asProductError, type Database } from '@valija/store'
import type { Rendering, TemplateRenderer, TemplateSource } from '@valija/templates'
import { placeFault } from './template-faults.ts'
import { createTemplateLibrary, type FoundTemplate, type TemplateLibrary } from './template-library.ts'

export interface TemplateDesk {
  /**
   * Renders the messages that name a template, those with the same one together; the others are as they were.
   *
   * @returns in order: the message to be judged, or why it is refused
   * @throws {ProductError} rate_limited, overloaded, database_unavailable
   */
  renderMessages(caller: Caller, inputs: readonly MessageDraft[]): Promise<(MessageDraft | ProductError)[]>
  /** One rendering by itself; the faults' paths begin at the use: `/variables/name`. @throws {ProductError} the same */
  render(tenantId: Uuid, use: TemplateUse): Promise<RenderedUse>
  /** What is wrong with a version that is not stored yet, and what it would use. @throws {ProductError} the same */
  check(tenantId: Uuid, root: TemplateSource, uses: readonly string[]): Promise<FieldFault[]>
}

export type RenderedUse =
  | { ok: true; version: number; rendering: Rendering }
  | { ok: false; faults: FieldFault[] }

export interface TemplateDeskParts {
  database: Pick<Database, 'engine'>
  renderer: TemplateRenderer
  clock: { nowMs(): number }
  maxMessageSizeBytes: number
}

export function createTemplateDesk(parts: TemplateDeskParts): TemplateDesk {
  const { renderer } = parts
  const library = createTemplateLibrary(parts.database)
  const renderUses = createUseRenderer(library, renderer)
  const limits = () => ({
    maxMessageSizeBytes: parts.maxMessageSizeBytes,
    now: new Date(parts.clock.nowMs()),
  })
  return {
    renderMessages: async (caller, inputs) => {
      const uses = inputs.flatMap(({ template }) => template ?? [])
      if (uses.length === 0) return [...inputs]
      const rendered = await orRefuse(renderUses(caller.tenantId, uses))
      let next = 0
      return inputs.map((input) =>
        input.template === undefined ? input : complete(input, rendered[next++]!, limits()),
      )
    },
    render: async (tenantId, use) => (await orRefuse(renderUses(tenantId, [use])))[0]!,
    check: (tenantId, root, uses) => orRefuse(check(library, renderer, tenantId, { root, uses })),
  }
}

async function orRefuse<T>(work: Promise<T>): Promise<T> {
  return work.catch((error: unknown) => {
    throw error instanceof ProductError ? error : asProductError(error)
  })
}

/** Renders uses of templates, those of one version together, and answers in order. */
function createUseRenderer(library: TemplateLibrary, renderer: TemplateRenderer) {
  return async (tenantId: Uuid, uses: readonly TemplateUse[]): Promise<RenderedUse[]> => {
    const groups = [...Map.groupBy(uses.keys(), (index) => nameOf(uses[index]!)).values()]
    const asked = groups.map(([first]) => askedVersion(uses[first!]!))
    const found = await library.find(tenantId, asked)
    const results: RenderedUse[] = []
    const work = groups.map(async (indices, group) => {
      const one = found[group]!
      const own = indices.map((index) => uses[index]!)
      const rendered = one.ok
        ? await renderGroup(renderer, tenantId, one.value, own)
        : own.map((): RenderedUse => ({ ok: false, faults: [one.fault] }))
      for (const [i, index] of indices.entries()) results[index] = rendered[i]!
    })
    await Promise.all(work)
    return results
  }
}

/** Renders one version for many. */
async function renderGroup(
  renderer: TemplateRenderer,
  tenantId: Uuid,
  { version, bundle, content }: FoundTemplate,
  uses: readonly TemplateUse[],
): Promise<RenderedUse[]> {
  const applied = uses.map((use) => applyVariables(content.variables, use.variables ?? {}))
  const fit = applied.filter(({ faults }) => faults.length === 0).map(({ values }) => values)
  const outcomes = fit.length === 0 ? [] : await renderer.render(tenantId, bundle, fit)
  let next = 0
  return applied.map(({ values, faults }): RenderedUse => {
    if (faults.length > 0) return { ok: false, faults: faults.map(under('/variables')) }
    const outcome = outcomes[next++]!
    if (outcome.kind === 'faulty') {
      const declared = content.variables.length > 0 ? new Set(Object.keys(values)) : null
      return { ok: false, faults: outcome.faults.map((fault) => placeFault(fault, version.slug, declared)) }
    }
    const { rendering } = outcome
    const unfit = findRenderedFaults(rendering, values)
    return unfit.length > 0 ? { ok: false, faults: unfit } : { ok: true, version: version.number, rendering }
  })
}

function nameOf({ slug, version }: TemplateUse): string {
  return `${slug} ${version ?? ''}`
}

function askedVersion({ slug, version }: TemplateUse): AskedVersion {
  return { slug, version: version ?? null }
}

function under(path: string) {
  return (fault: FieldFault): FieldFault => ({ ...fault, path: `${path}${fault.path}` })
}

async function check(
  library: TemplateLibrary,
  renderer: TemplateRenderer,
  tenantId: Uuid,
  { root, uses }: { root: TemplateSource; uses: readonly string[] },
): Promise<FieldFault[]> {
  // A layout or partial takes the place of its published version: what uses it may be what it uses.
  const isOther = ({ kind, slug }: TemplateSource) => kind !== root.kind || slug !== root.slug
  const others = (await library.readParts(tenantId, uses)).filter(isOther)
  const parts = root.kind === 'template' ? others : [...others, root]
  // Under a key of its own: it is parsed this once.
  const faults = await renderer.check(tenantId, { key: `check ${randomUUID()}`, root, parts })
  if (faults.length === 0 && root.kind !== 'template')
    return findBrokenUsers(library, renderer, tenantId, { root, others })
  return faults.map((fault) => {
    const { path, message } = placeFault(fault, root.slug, null)
    const isOwn = fault.part !== null && fault.slug === root.slug
    return { path: path === '' && isOwn ? `/${fault.part}` : path, message }
  })
}

/** What uses a layout or partial and could not be sent with it any more; what could not be sent before is left alone. */
async function findBrokenUsers(
  library: TemplateLibrary,
  renderer: TemplateRenderer,
  tenantId: Uuid,
  { root, others }: { root: TemplateSource; others: readonly TemplateSource[] },
): Promise<FieldFault[]> {
  const faults: FieldFault[] = []
  const fault = async (user: TemplateSource, parts: readonly TemplateSource[]) =>
    (await renderer.check(tenantId, { key: `check ${randomUUID()}`, root: user, parts }))[0]
  for (const { root: user, parts } of await library.readUsers(tenantId, `${root.kind}/${root.slug}`)) {
    const changed = new Map([...parts, ...others, root].map((part) => [`${part.kind}/${part.slug}`, part]))
    const found = await fault(user, [...changed.values()])
    if (found === undefined || (await fault(user, parts)) !== undefined) continue
    const message = `The ${user.kind} "${user.slug}" uses it, and could not be sent any more. ${placeFault(found, user.slug, null).message}`
    if (faults.push({ path: '', message }) === maxBrokenTold) break
  }
  return faults
}

/** Whoever mends those sees the others next. */
const maxBrokenTold = 5

/** The message as its template makes it, or all that is wrong with it. */
function complete(
  input: MessageDraft,
  rendered: RenderedUse,
  limits: Parameters<typeof validateMessage>[1],
): MessageDraft | ProductError {
  const faults = [
    ...findBesideTemplateFaults(input),
    ...(rendered.ok ? [] : rendered.faults.map(under('/template'))),
  ]
  if (rendered.ok && rendered.rendering.subject === null && faults.length === 0)
    faults.push({
      path: '/template/slug',
      message: 'Is a layout or a partial, which cannot be sent. Name a template.',
    })
  if (faults.length > 0 || !rendered.ok) {
    const judged = validateMessage(withoutTemplate(input), limits)
    return invalidRequest([...faults, ...(judged.ok ? [] : judged.errors)])
  }
  const { template, ...rest } = input
  const { subject, text, html } = rendered.rendering
  return {
    ...rest,
    ...(template && { renderedFrom: { slug: template.slug, version: rendered.version } }),
    subject: input.subject ?? subject ?? '',
    ...(text !== null && { text }),
    ...(html !== null && { html }),
  }
}
