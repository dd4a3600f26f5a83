/**
 * What is wrong with templates of files, found without writing anything, for `valija template push --dry-run`. It judges by the same rules and
 * the same compiler as the API does when it takes them, each with the layouts and partials that it would have: those of the files, and
 * those that are published.
 */
import {
  type FieldFault,
  findContentFaults,
  findLabelFaults,
  templateKinds,
  variableTypes,
} from '@valija/core'
import { atPart, findSourceFaults } from '@valija/flows'
import {
  createRenderer,
  type TemplateReference,
  type TemplateRenderer,
  type TemplateSource,
} from '@valija/templates'
import type { TemplateFile } from './template-files.ts'

/** A published layout or partial; null: there is none. */
export type FindPublished = (
  reference: Pick<TemplateReference, 'kind' | 'slug'>,
) => Promise<TemplateSource | null>

/** The renderer is for all tenants, and here is one. */
const somebody = '00000000-0000-7000-8000-000000000000'

/**
 * @param published is asked for what the files use and do not hold; null: what is used is not looked at, as for a draft
 * @returns of each file with a fault, with paths as in POST /templates
 */
export async function checkTemplates(
  files: readonly TemplateFile[],
  published: FindPublished | null,
): Promise<{ file: TemplateFile; faults: FieldFault[] }[]> {
  const renderer = createRenderer()
  try {
    const checked = []
    for (const file of files) checked.push({ file, faults: await faultsOf(renderer, file, files, published) })
    return checked.filter(({ faults }) => faults.length > 0)
  } finally {
    await renderer.close()
  }
}

async function faultsOf(
  renderer: TemplateRenderer,
  file: TemplateFile,
  files: readonly TemplateFile[],
  published: FindPublished | null,
): Promise<FieldFault[]> {
  const shape = findShapeFaults(file)
  if (shape.length > 0) return shape
  const { slug, kind, name = slug } = file
  const faults = [...findLabelFaults({ slug, name }), ...findContentFaults(kind, file)]
  if (faults.length > 0) return faults
  const inspection = await renderer.inspect(somebody, sourceOf(file))
  const own = findSourceFaults(file, inspection)
  if (own.length > 0 || published === null) return own
  const parts = await partsOf(renderer, inspection.references, files, published)
  const key = `${kind}/${slug}`
  const all = await renderer.check(somebody, { key, root: sourceOf(file), parts })
  return all.filter((fault) => fault.slug === null || fault.slug === slug).map(atPart)
}

/** All that is used, and what that uses: of the files before what is published. */
async function partsOf(
  renderer: TemplateRenderer,
  references: readonly TemplateReference[],
  files: readonly TemplateFile[],
  published: FindPublished,
): Promise<TemplateSource[]> {
  const parts = new Map<string, TemplateSource>()
  const waiting = [...references]
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    const { kind, slug } = next
    if (parts.has(`${kind}/${slug}`)) continue
    const file = files.find((one) => one.kind === kind && one.slug === slug)
    const found = file === undefined ? await published({ kind, slug }) : sourceOf(file)
    if (found === null) continue
    parts.set(`${kind}/${slug}`, found)
    // What has a fault of its own is told at its file.
    waiting.push(...(await renderer.inspect(somebody, found)).references)
  }
  return [...parts.values()]
}

/** JSON files hold whatever somebody wrote. */
function findShapeFaults(file: TemplateFile): FieldFault[] {
  const { name, kind, variables } = file
  const texts = (['subject', 'text', 'html'] as const).filter((part) => !isTextOrNull(file[part]))
  return [
    ...(name === undefined || typeof name === 'string'
      ? []
      : [{ path: '/name', message: 'Must be a string.' }]),
    ...(templateKinds.includes(kind)
      ? []
      : [{ path: '/kind', message: `Must be one of ${templateKinds.join(', ')}.` }]),
    ...texts.map((part) => ({ path: `/${part}`, message: 'Must be a string or null.' })),
    ...(Array.isArray(variables)
      ? variables.flatMap(findDeclarationFault)
      : [{ path: '/variables', message: 'Must be a list.' }]),
  ]
}

const isTextOrNull = (value: unknown) => value === null || typeof value === 'string'
const declarationFields: readonly string[] = ['name', 'type', 'required', 'default']

function findDeclarationFault(declared: unknown, at: number): FieldFault[] {
  const path = `/variables/${at}`
  if (typeof declared !== 'object' || declared === null || Array.isArray(declared))
    return [{ path, message: 'Must be an object with name and type.' }]
  const { name, type, required } = declared as Record<string, unknown>
  const unknown = Object.keys(declared).find((field) => !declarationFields.includes(field))
  if (unknown !== undefined)
    return [{ path: `${path}/${unknown}`, message: `Is none of ${declarationFields.join(', ')}.` }]
  if (typeof name !== 'string') return [{ path: `${path}/name`, message: 'Must be a string.' }]
  if (!variableTypes.some((known) => known === type))
    return [{ path: `${path}/type`, message: `Must be one of ${variableTypes.join(', ')}.` }]
  if (required !== undefined && typeof required !== 'boolean')
    return [{ path: `${path}/required`, message: 'Must be true or false.' }]
  return []
}

const sourceOf = ({ kind, slug, subject, text, html }: TemplateFile): TemplateSource => ({
  ...{ kind, slug, subject, text, html },
})
