/**
 * Managing templates, layouts and partials. Each change of what one holds makes a new version, which is sent once it is published; a version
 * never changes. All that can be found out without variables is told when a version is made or published, and not when it is sent.
 */
import {
  type Caller,
  conflict,
  type FieldFault,
  findContentFaults,
  findLabelFaults,
  formatId,
  type IdSource,
  invalidRequest,
  ProductError,
  parseId,
  type TemplateContent,
  type TemplateKind,
  type TemplateVariable,
  type Uuid,
} from '@valija/core'
import {
  type Database,
  deleteTemplate,
  findTemplate,
  findUsers,
  findVersion,
  insertTemplate,
  listTemplates,
  listVersions,
  maxTemplates,
  type NewVersion,
  type StoredTemplate,
  updateTemplate,
  type WholeTemplate,
} from '@valija/store'
import type { TemplateRenderer } from '@valija/templates'
import { type PageAnswer, type PageRequest, readPage } from './manage-pages.ts'
import type { TemplateDesk } from './template-desk.ts'
import { findSourceFaults } from './template-faults.ts'

export interface TemplateManagement {
  database: Database
  nextId: IdSource
  renderer: Pick<TemplateRenderer, 'inspect'>
  templateDesk: Pick<TemplateDesk, 'check'>
}

interface ContentInput {
  subject?: string | null
  text?: string | null
  html?: string | null
  variables?: TemplateVariable[]
  publish?: boolean
}

/** The body of POST /templates. */
export interface TemplateInput extends ContentInput {
  slug: string
  name?: string
  kind?: TemplateKind
}

/** The body of PATCH /templates/:id. */
export interface TemplateChangeInput extends ContentInput {
  slug?: string
  name?: string
}

export interface TemplateSummaryView {
  id: string
  slug: string
  name: string
  kind: TemplateKind
  version: number
  published_version: number | null
  created_at: string
  updated_at: string
}

export type TemplateView = TemplateSummaryView & TemplateContent

export interface TemplateVersionView {
  id: string
  version: number
  size_bytes: number
  is_published: boolean
  created_at: string
  published_at: string | null
}

export async function showTemplates(
  { database }: Pick<TemplateManagement, 'database'>,
  caller: Caller,
  request: PageRequest & { slug?: string; kind?: TemplateKind },
): Promise<PageAnswer<TemplateSummaryView>> {
  const { slug, kind } = request
  const only = { ...(slug !== undefined && { slug }), ...(kind !== undefined && { kind }) }
  const read = (page: { limit: number; after: Uuid | null }) =>
    listTemplates(database, caller.tenantId, { ...page, ...only })
  return readPage('template', request, read, toSummary)
}

/** @throws {ProductError} not_found */
export async function showTemplate(
  desk: Pick<TemplateManagement, 'database'>,
  caller: Caller,
  id: string,
): Promise<TemplateView> {
  return toView(await requireTemplate(desk, caller, id))
}

/** @throws {ProductError} not_found */
export async function showTemplateVersions(
  { database }: Pick<TemplateManagement, 'database'>,
  caller: Caller,
  id: string,
  request: PageRequest,
): Promise<PageAnswer<TemplateVersionView>> {
  const template = await requireTemplate({ database }, caller, id)
  const read = (page: { limit: number; after: Uuid | null }) =>
    listVersions(database, caller.tenantId, template.id, page)
  return readPage('templateVersion', request, read, (version) => toVersionView(version, template))
}

/** @throws {ProductError} not_found */
export async function showTemplateVersion(
  { database }: Pick<TemplateManagement, 'database'>,
  caller: Caller,
  id: string,
  number: string,
): Promise<TemplateVersionView & TemplateContent> {
  const template = await requireTemplate({ database }, caller, id)
  const version = /^[1-9]\d{0,8}$/.test(number)
    ? await findVersion(database, caller.tenantId, template.id, Number(number))
    : null
  if (version === null) throw new ProductError('not_found')
  return { ...toVersionView(version, template), ...contentOf(version) }
}

/** @throws {ProductError} invalid_request, conflict, rate_limited, overloaded */
export async function addTemplate(
  desk: TemplateManagement,
  caller: Caller,
  input: TemplateInput,
): Promise<TemplateView> {
  const { slug, name = slug, kind = 'template', publish = true } = input
  const empty = { subject: null, text: null, html: null, variables: [] }
  const content = mergeContent(empty, input)
  refuse([...findLabelFaults({ slug, name }), ...findContentFaults(kind, content)])
  const version = await makeVersion(desk, caller, { slug, kind }, content)
  if (publish)
    refuse(await desk.templateDesk.check(caller.tenantId, { kind, slug, ...content }, version.uses))
  const template = { id: desk.nextId(), slug, name, kind, version, isPublished: publish }
  const added = await insertTemplate(desk.database, caller.tenantId, template)
  if (added === 'taken') throw slugTaken(slug)
  if (added === 'full') {
    const detail = `There are ${maxTemplates} templates already; delete those that nobody needs.`
    throw conflict('full', { detail })
  }
  return toView(added)
}

/** @throws {ProductError} not_found, invalid_request, conflict, rate_limited, overloaded */
export async function changeTemplate(
  desk: TemplateManagement,
  caller: Caller,
  id: string,
  input: TemplateChangeInput,
): Promise<TemplateView> {
  const present = await requireTemplate(desk, caller, id)
  const { slug = present.slug, publish = false } = input
  const content = mergeContent(present, input)
  refuse([...findLabelFaults(input), ...findContentFaults(present.kind, content)])
  if (slug !== present.slug) await refuseWhileUsed(desk, caller, present)
  const isNew = JSON.stringify(content) !== JSON.stringify(contentOf(present))
  const version = isNew ? await makeVersion(desk, caller, { ...present, slug }, content) : undefined
  if (!isNew && !publish && slug === present.slug && (input.name ?? present.name) === present.name)
    return toView(present)
  const number = present.latestVersion + (isNew ? 1 : 0)
  if (publish) await refuseFaulty(desk, caller, present, { ...content, number, uses: version?.uses ?? null })
  return save(desk, caller, present, {
    ...(input.slug !== undefined && { slug }),
    ...(input.name !== undefined && { name: input.name }),
    ...(version && { version }),
    ...(publish && { publish: number }),
  })
}

/**
 * @param number null: the newest version
 * @throws {ProductError} not_found, invalid_request, conflict, rate_limited, overloaded
 */
export async function publishTemplate(
  desk: TemplateManagement,
  caller: Caller,
  id: string,
  number: number | null,
): Promise<TemplateView> {
  const present = await requireTemplate(desk, caller, id)
  const wanted = number ?? present.latestVersion
  const version = await findVersion(desk.database, caller.tenantId, present.id, wanted)
  if (version === null)
    throw invalidRequest([
      { path: '/version', message: `There is no version ${wanted}: see GET /templates/:id/versions.` },
    ])
  await refuseFaulty(desk, caller, present, version)
  return save(desk, caller, present, { publish: wanted })
}

/** @throws {ProductError} not_found; conflict while something uses it */
export async function removeTemplate(
  desk: Pick<TemplateManagement, 'database'>,
  caller: Caller,
  id: string,
): Promise<void> {
  const template = await requireTemplate(desk, caller, id)
  await refuseWhileUsed(desk, caller, template)
  if (!(await deleteTemplate(desk.database, caller.tenantId, template.id)))
    throw new ProductError('not_found')
}

/** @throws {ProductError} not_found */
export async function requireTemplate(
  { database }: Pick<TemplateManagement, 'database'>,
  caller: Caller,
  id: string,
): Promise<WholeTemplate> {
  const uuid = parseId('template', id)
  const template = uuid && (await findTemplate(database, caller.tenantId, uuid))
  if (!template) throw new ProductError('not_found')
  return template
}

async function save(
  desk: TemplateManagement,
  caller: Caller,
  present: WholeTemplate,
  change: { slug?: string; name?: string; version?: NewVersion; publish?: number },
): Promise<TemplateView> {
  const { id, latestVersion } = present
  const changed = await updateTemplate(desk.database, caller.tenantId, id, { latestVersion, ...change })
  if (changed === null) throw new ProductError('not_found')
  if (changed === 'taken') throw slugTaken(change.slug ?? present.slug)
  if (changed === 'changed')
    throw conflict('changed', { detail: 'Somebody else has changed the template meanwhile.' })
  return toView(changed)
}

/** Reads the sources: syntax, and what they use. @throws {ProductError} invalid_request */
async function makeVersion(
  desk: TemplateManagement,
  caller: Caller,
  { slug, kind }: { slug: string; kind: TemplateKind },
  content: TemplateContent,
): Promise<NewVersion> {
  const inspection = await desk.renderer.inspect(caller.tenantId, { kind, slug, ...content })
  const uses = [...new Set(inspection.references.map((reference) => `${reference.kind}/${reference.slug}`))]
  refuse(findSourceFaults(content, inspection))
  return { id: desk.nextId(), ...content, uses }
}

/** What would be wrong with every mail of it. */
async function refuseFaulty(
  desk: TemplateManagement,
  caller: Caller,
  { id, kind, slug }: WholeTemplate,
  { number, uses, subject, text, html }: TemplateContent & { number: number; uses: readonly string[] | null },
): Promise<void> {
  const known = uses ?? (await findVersion(desk.database, caller.tenantId, id, number))?.uses ?? []
  refuse(await desk.templateDesk.check(caller.tenantId, { kind, slug, subject, text, html }, known))
}

async function refuseWhileUsed(
  { database }: Pick<TemplateManagement, 'database'>,
  caller: Caller,
  { kind, slug }: StoredTemplate,
): Promise<void> {
  if (kind === 'template') return
  const users = await findUsers(database, caller.tenantId, `${kind}/${slug}`)
  if (users.length > 0) throw conflict('used', { detail: `It is still used by ${users.join(', ')}.` })
}

function refuse(faults: FieldFault[]): void {
  if (faults.length > 0) throw invalidRequest(faults)
}

function slugTaken(slug: string): ProductError {
  return conflict('exists', {
    detail: `There is one with the slug ${slug} already: see GET /templates?slug=${slug}.`,
  })
}

function mergeContent(present: TemplateContent, input: ContentInput): TemplateContent {
  const {
    subject = present.subject,
    text = present.text,
    html = present.html,
    variables = present.variables,
  } = input
  return { subject, text, html, variables }
}

function contentOf({ subject, text, html, variables }: TemplateContent): TemplateContent {
  return { subject, text, html, variables }
}

function toSummary(template: StoredTemplate): TemplateSummaryView {
  return {
    id: formatId('template', template.id),
    slug: template.slug,
    name: template.name,
    kind: template.kind,
    version: template.latestVersion,
    published_version: template.publishedVersion,
    created_at: template.createdAt.toISOString(),
    updated_at: template.updatedAt.toISOString(),
  }
}

function toView(template: WholeTemplate): TemplateView {
  return { ...toSummary(template), ...contentOf(template) }
}

function toVersionView(
  { id, number, sizeBytes, createdAt, publishedAt }: Awaited<ReturnType<typeof listVersions>>[number],
  { publishedVersion }: StoredTemplate,
): TemplateVersionView {
  return {
    id: formatId('templateVersion', id),
    version: number,
    size_bytes: sizeBytes,
    is_published: number === publishedVersion,
    created_at: createdAt.toISOString(),
    published_at: publishedAt?.toISOString() ?? null,
  }
}
