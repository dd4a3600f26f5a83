/** The rules for what a template, a layout or a partial may be, beside the language of its sources (packages/templates). */
import { Buffer } from 'node:buffer'
import { type Fault, findTextFault } from './message-input-text.ts'
import { findDeclarationFaults, findNameFault, type TemplateVariable } from './template-variables.ts'

/** A layout is what others stand in, a partial stands in others; neither can be sent. */
export const templateKinds = ['template', 'layout', 'partial'] as const
export type TemplateKind = (typeof templateKinds)[number]

/** What one version holds. */
export interface TemplateContent {
  subject: string | null
  text: string | null
  html: string | null
  variables: TemplateVariable[]
}

/** POST /send: which template with what. */
export interface TemplateUse {
  slug: string
  /** Absent: the published one. */
  version?: number
  variables?: Record<string, unknown>
}

const SLUG = /^[a-z0-9](?:[a-z0-9_-]{0,62}[a-z0-9])?$/
const MAX_NAME_CHARACTERS = 200
const MAX_SUBJECT_CHARACTERS = 2_000
/** Octets of text and html together: Gmail shows 102 KB of a mail. */
const MAX_SOURCE_BYTES = 512 * 1024
/** Layouts and partials that one version names. */
const MAX_USES = 50

export function findSlugFault(slug: string): string | null {
  return SLUG.test(slug)
    ? null
    : 'Must be 1 to 64 lower-case letters, digits, _ and -, and begin and end with a letter or digit.'
}

/** @param given what is given of a name and a slug */
export function findLabelFaults(given: { slug?: string; name?: string }): Fault[] {
  const faults: Fault[] = []
  const slug = given.slug === undefined ? null : findSlugFault(given.slug)
  if (slug !== null) faults.push({ path: '/slug', message: slug })
  const name = given.name === undefined ? null : findNameFault(given.name, MAX_NAME_CHARACTERS)
  if (name !== null) faults.push({ path: '/name', message: name })
  return faults
}

/** Judges a version as a whole. */
export function findContentFaults(kind: TemplateKind, content: TemplateContent): Fault[] {
  const { subject, text, html, variables } = content
  const faults: Fault[] = []
  const tell = (path: string, message: string | null) => {
    if (message !== null) faults.push({ path, message })
  }
  if (kind === 'template' && subject === null)
    tell('/subject', 'Is missing. Give a subject; it may hold variables.')
  if (kind !== 'template' && subject !== null) tell('/subject', `A ${kind} has none. Leave it out.`)
  if (kind !== 'template' && variables.length > 0)
    tell('/variables', `A ${kind} declares none: it has those of the template that uses it. Leave it out.`)
  if (text === null && html === null) tell('/text', 'There is no content. Give text, html or both.')
  if (subject !== null && subject.length > MAX_SUBJECT_CHARACTERS)
    tell('/subject', `Is longer than ${MAX_SUBJECT_CHARACTERS} characters. Shorten it.`)
  for (const [path, source] of Object.entries({ '/subject': subject, '/text': text, '/html': html }))
    tell(path, source === null ? null : findTextFault(source))
  const bytes = Buffer.byteLength(text ?? '') + Buffer.byteLength(html ?? '')
  if (bytes > MAX_SOURCE_BYTES)
    tell(
      html === null ? '/text' : '/html',
      `Text and html have ${bytes} octets; at most ${MAX_SOURCE_BYTES} are allowed.`,
    )
  return [...faults, ...findDeclarationFaults(variables)]
}

/** @param count of the layouts and partials that a version names */
export function findUsesFault(count: number): string | null {
  return count <= MAX_USES ? null : `It uses ${count} layouts and partials; at most ${MAX_USES} are allowed.`
}
