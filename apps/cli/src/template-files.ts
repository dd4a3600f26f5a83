/**
 * Templates as files of a folder, for `valija template push`: what stands in a repository and goes with a deployment.
 *
 * All files of one name are one template, whose slug is the name: `receipt.html`, `receipt.txt`, and in `receipt.json` what has no file
 * of its own, as in POST /templates. What lies in a folder `layouts` or `partials` is of that kind.
 */
import { readdir, readFile, stat } from 'node:fs/promises'
import path from 'node:path'
import type { TemplateInput } from '@valija/client'
import { FaultsFound } from './command.ts'

export interface TemplateFile
  extends Required<Pick<TemplateInput, 'slug' | 'kind' | 'subject' | 'text' | 'html' | 'variables'>> {
  /** Absent: nobody said so, and it stays as it is. */
  name?: string
  /** Where it is, without the ending of its files. */
  place: string
}

type Kind = TemplateFile['kind']

/** What a file holds, by its ending. */
const parts = { '.html': 'html', '.txt': 'text', '.json': 'json' } as const
type Part = (typeof parts)[keyof typeof parts]

const kindOfFolder: Readonly<Record<string, Kind>> = { layouts: 'layout', partials: 'partial' }
const fieldsOfJson = ['name', 'kind', 'subject', 'text', 'html', 'variables'] as const

/**
 * @param paths folders, with all that lies below them, and files, each with the others of its name
 * @param onIgnored is told of each file of a folder that is part of no template; those that begin with a dot are not spoken of
 * @returns what uses others behind them: partials and layouts first
 * @throws {FaultsFound} by the files
 */
export async function readTemplates(
  paths: readonly string[],
  onIgnored: (file: string) => void = () => {},
): Promise<TemplateFile[]> {
  const files = new Map<string, Map<Part, string>>()
  for (const one of paths)
    for (const file of await filesAt(one)) {
      const { dir, name, ext } = path.parse(file)
      const place = path.join(dir, name)
      const part = Object.hasOwn(parts, ext) ? parts[ext as keyof typeof parts] : null
      if (part === null) {
        onIgnored(file)
        continue
      }
      files.set(place, (files.get(place) ?? new Map()).set(part, file))
    }
  if (files.size === 0) throw new Error(`There is no .html, .txt or .json in ${paths.join(', ')}.`)
  const read = await Promise.allSettled([...files].map(([place, its]) => readTemplate(place, its)))
  const faults = read.flatMap((one) => (one.status === 'rejected' ? [(one.reason as Error).message] : []))
  const templates = read.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []))
  for (const [slug, same] of Map.groupBy(templates, ({ slug }) => slug))
    if (same.length > 1) faults.push(`${same.map(({ place }) => place).join(' and ')} are both "${slug}".`)
  if (faults.length > 0) throw new FaultsFound(faults.map((message) => ({ path: '', message })))
  return inOrderOfUse(templates)
}

/** The files of a folder, or those of one template, with their paths. @throws as stat does */
async function filesAt(given: string): Promise<string[]> {
  const isFolder = (await stat(given)).isDirectory()
  const folder = isFolder ? given : path.dirname(given)
  const all = await readdir(folder, { recursive: isFolder, withFileTypes: true })
  return all
    .filter((entry) => entry.isFile() && !entry.name.startsWith('.'))
    .map((entry) => path.join(entry.parentPath, entry.name))
    .filter((file) => isFolder || path.parse(file).name === path.parse(given).name)
    .sort()
}

async function readTemplate(place: string, files: ReadonlyMap<Part, string>): Promise<TemplateFile> {
  const said = await readFields(files.get('json'))
  const kind = kindOfFolder[path.basename(path.dirname(place))] ?? said.kind ?? 'template'
  if (said.kind !== undefined && said.kind !== kind)
    throw new Error(`${files.get('json')}: its kind is "${said.kind}", but the folder says ${kind}.`)
  const contentOf = async (part: 'html' | 'text') => {
    const file = files.get(part)
    if (file !== undefined && said[part] !== undefined)
      throw new Error(`${files.get('json')}: ${part} stands in ${path.basename(file)} already.`)
    return file === undefined ? (said[part] ?? null) : await readFile(file, 'utf8')
  }
  return {
    slug: path.basename(place),
    kind,
    ...(said.name !== undefined && { name: said.name }),
    subject: said.subject ?? null,
    text: await contentOf('text'),
    html: await contentOf('html'),
    variables: said.variables ?? [],
    place,
  }
}

/** What the JSON file says: the API judges the values. */
async function readFields(file: string | undefined): Promise<Partial<Omit<TemplateInput, 'slug'>>> {
  if (file === undefined) return {}
  const fields: unknown = await readFile(file, 'utf8')
    .then(JSON.parse)
    .catch((error: Error) => {
      throw error instanceof SyntaxError ? new Error(`${file} is no JSON: ${error.message}.`) : error
    })
  if (typeof fields !== 'object' || fields === null || Array.isArray(fields))
    throw new Error(`${file} does not hold a JSON object.`)
  const unknown = Object.keys(fields).find((name) => !fieldsOfJson.some((known) => known === name))
  if (unknown !== undefined)
    throw new Error(
      `${file}: "${unknown}" is none of ${fieldsOfJson.join(', ')}; the slug is the name of the file.`,
    )
  return fields
}

/** Those that are used first, so that each can be published when its turn comes; what uses itself is for the API to refuse. */
function inOrderOfUse(templates: readonly TemplateFile[]): TemplateFile[] {
  const bySlug = new Map(templates.map((one) => [one.slug, one]))
  const ordered = new Set<TemplateFile>()
  const visit = (one: TemplateFile, above: readonly TemplateFile[]) => {
    if (ordered.has(one) || above.includes(one)) return
    for (const [, , slug = ''] of `${one.html ?? ''}${one.text ?? ''}`.matchAll(uses)) {
      const used = bySlug.get(slug)
      if (used !== undefined) visit(used, [...above, one])
    }
    ordered.add(one)
  }
  for (const one of templates) visit(one, [])
  return [...ordered]
}

const uses = /\{%-?\s*(?:layout|render|include)\s+(["'])([^"']+)\1/g
