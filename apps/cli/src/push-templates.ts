/**
 * `valija template push`: makes the templates of the API those of the files. What is the same already is left alone, so it can go with
 * every deployment; what changes is a draft first, and only when all are saved without a fault they are published, those that are used first.
 */
import { isDeepStrictEqual } from 'node:util'
import { type Template, type TemplateSummary, type Valija, ValijaError } from '@valija/client'
import type { FieldFault } from '@valija/core'
import type { FindPublished } from './check-templates.ts'
import { FaultsFound } from './command.ts'
import type { TemplateFile } from './template-files.ts'

export interface Pushed {
  slug: string
  kind: Template['kind']
  /** Published: what it holds was there already, as a draft. */
  change: 'created' | 'changed' | 'published' | 'unchanged'
  /** The newest version; null: not made yet, by a dry run. */
  version: number | null
  published_version: number | null
}

interface PushOptions {
  /** Nothing is written: all that can be found without is found, and told as the API would. */
  isDry: boolean
  publish: boolean
}

/**
 * @throws {FaultsFound} each template that was refused, and why; nothing is published then
 * @throws {ValijaError} of trouble that is nobody's template
 */
export async function pushTemplates(
  api: Valija,
  files: readonly TemplateFile[],
  options: PushOptions,
): Promise<Pushed[]> {
  const present = new Map<string, TemplateSummary>()
  for await (const one of api.list('GET /templates', { query: { limit: 100 } })) present.set(one.slug, one)
  const faults = options.isDry ? await check(api, files, present, options.publish) : []
  const pushed = []
  for (const file of files) {
    try {
      pushed.push(await pushOne(api, file, present.get(file.slug), options.isDry))
    } catch (error) {
      faults.push(...faultsOf(file, error))
    }
  }
  if (faults.length > 0) throw new FaultsFound(faults)
  return await publishAll(api, pushed, options)
}

/** What is used matters only to what is published. */
async function check(
  api: Valija,
  files: readonly TemplateFile[],
  present: ReadonlyMap<string, TemplateSummary>,
  publish: boolean,
): Promise<FieldFault[]> {
  const { checkTemplates } = await import('./check-templates.ts')
  const published: FindPublished = async ({ kind, slug }) => {
    const found = present.get(slug)
    if (found?.kind !== kind || found.published_version === null) return null
    const path = { id: found.id, version: `${found.published_version}` }
    const { subject, text, html } = await api.request('GET /templates/{id}/versions/{version}', { path })
    return { kind, slug, subject, text, html }
  }
  const checked = await checkTemplates(files, publish ? published : null)
  return checked.flatMap(({ file, faults }) => faults.map((fault) => inFile(file, fault)))
}

type Step = Pushed & { id: string | null; place: string }

async function pushOne(
  api: Valija,
  file: TemplateFile,
  summary: TemplateSummary | undefined,
  isDry: boolean,
): Promise<Step> {
  const { slug, kind, place, ...content } = file
  if (summary === undefined) {
    if (isDry)
      return { slug, kind, change: 'created', version: null, published_version: null, id: null, place }
    const body = { slug, kind, ...content, publish: false }
    return stepOf(await api.request('POST /templates', { body }), 'created', place)
  }
  if (summary.kind !== kind)
    throw new Error(`${slug} is there as a ${summary.kind}, and cannot become a ${kind}.`)
  const path = { id: summary.id }
  const now = await api.request('GET /templates/{id}', { path })
  const { name = now.name, subject, text, html, variables } = now
  const isSame = isDeepStrictEqual({ name, subject, text, html, variables }, { name, ...content })
  if (isSame || isDry) return stepOf(now, isSame ? 'unchanged' : 'changed', place)
  return stepOf(await api.request('PATCH /templates/{id}', { path, body: content }), 'changed', place)
}

async function publishAll(
  api: Valija,
  steps: readonly Step[],
  { isDry, publish }: PushOptions,
): Promise<Pushed[]> {
  const done: Pushed[] = []
  for (const { id, place, ...step } of steps) {
    const isNews = publish && step.version !== step.published_version
    const change = isNews && step.change === 'unchanged' ? 'published' : step.change
    if (isNews && !isDry && id !== null) {
      const body = { version: step.version ?? 1 }
      const { published_version } = await api
        .request('POST /templates/{id}/publish', { path: { id }, body })
        .catch((error: unknown) => {
          const faults = faultsOf({ place }, error)
          throw new FaultsFound(
            faults.map(({ path, message }) => ({ path, message: `Not published: ${message}` })),
          )
        })
      done.push({ ...step, change, published_version })
    } else done.push({ ...step, change })
  }
  return done
}

const stepOf = (
  { id, slug, kind, version, published_version }: Template,
  change: Pushed['change'],
  place: string,
): Step => ({
  ...{ id, slug, kind, change, version, published_version },
  place,
})

/** By the file that it is in. @throws what says nothing about a template */
function faultsOf(file: Pick<TemplateFile, 'place'>, error: unknown): FieldFault[] {
  if (!(error instanceof ValijaError)) return [{ path: file.place, message: (error as Error).message }]
  if (error.status !== 400 && error.status !== 409) throw error
  if (error.errors.length === 0) return [{ path: file.place, message: error.message }]
  return error.errors.map((fault) => inFile(file, fault))
}

/** @param path of a fault in POST /templates, such as `/html` or `/variables/0/type` */
function inFile({ place }: Pick<TemplateFile, 'place'>, { path, message }: FieldFault): FieldFault {
  if (path === '/slug') return { path: place, message: `The name of the file is the slug. ${message}` }
  if (path === '/html') return { path: `${place}.html`, message }
  if (path === '/text') return { path: `${place}.txt`, message }
  return { path: path === '' ? place : `${place}.json ${path}`, message }
}
