/**
 * `valija template push`: makes the templates of the API those of the files. What is the same already is left alone, so it can go with
 * every deployment; what changes is a draft first, and only when all are saved without a fault they are published, those that are used first.
 */
import { isDeepStrictEqual } from 'node:util'
import { type Template, type TemplateSummary, type Valija, ValijaError } from '@valija/client'
import type { TemplateFile } from './template-files.ts'

export interface Pushed {
  slug: string
  kind: Template['kind']
  change: 'created' | 'changed' | 'unchanged'
  /** The newest version; null: not made yet, by a dry run. */
  version: number | null
  published_version: number | null
}

/**
 * @throws {Error} each template that was refused, and why; nothing is published then
 * @throws {ValijaError} of trouble that is nobody's template
 */
export async function pushTemplates(
  api: Valija,
  files: readonly TemplateFile[],
  options: { isDry: boolean; publish: boolean },
): Promise<Pushed[]> {
  const present = new Map<string, TemplateSummary>()
  for await (const one of api.list('GET /templates', { query: { limit: 100 } })) present.set(one.slug, one)
  const faults: string[] = []
  const pushed = []
  for (const file of files) {
    try {
      pushed.push(await pushOne(api, file, present.get(file.slug), options.isDry))
    } catch (error) {
      faults.push(faultOf(file, error))
    }
  }
  if (faults.length > 0) throw new Error(faults.join('\n'))
  return await publishAll(api, pushed, options)
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
  { isDry, publish }: { isDry: boolean; publish: boolean },
): Promise<Pushed[]> {
  const done: Pushed[] = []
  for (const { id, place, ...step } of steps) {
    if (publish && !isDry && id !== null && step.version !== step.published_version) {
      const body = { version: step.version ?? 1 }
      const { published_version } = await api
        .request('POST /templates/{id}/publish', { path: { id }, body })
        .catch((error: unknown) => {
          throw new Error(`Not published: ${faultOf({ place }, error)}`, { cause: error })
        })
      done.push({ ...step, published_version })
    } else done.push(step)
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
function faultOf({ place }: Pick<TemplateFile, 'place'>, error: unknown): string {
  if (!(error instanceof ValijaError)) return `${place}: ${(error as Error).message}`
  if (error.status !== 400 && error.status !== 409) throw error
  if (error.errors.length === 0) return `${place}: ${error.message}`
  return error.errors.map(({ path, message }) => `${place}${endingOf(path)}: ${message}`).join('\n')
}

/** @param path of a fault in POST /templates, such as `/html` or `/variables/0/type` */
function endingOf(path: string): string {
  if (path === '/html') return '.html'
  if (path === '/text') return '.txt'
  return path === '' ? '' : ` ${path}`
}
