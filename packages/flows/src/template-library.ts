/**
 * The sources of templates: which version is asked for → its layouts and partials as they are published now → what they hold, mostly from
 * memory.
 */
import { conflict, type FieldFault, type TemplateContent, type Uuid } from '@valija/core'
import {
  type AskedVersion,
  type Database,
  type FoundVersion,
  findDependents,
  findParts,
  findVersions,
  readContents,
  type VersionRef,
} from '@valija/store'
import type { TemplateBundle, TemplateSource } from '@valija/templates'

export interface FoundTemplate {
  version: VersionRef
  bundle: TemplateBundle
  content: TemplateContent
}

export interface TemplateLibrary {
  /** In order. A fault's path begins at the use: `/slug`. */
  find(
    tenantId: Uuid,
    asked: readonly AskedVersion[],
  ): Promise<({ ok: true; value: FoundTemplate } | { ok: false; fault: FieldFault })[]>
  /** Layouts and partials, and what those use; those that are not there are left out. */
  readParts(tenantId: Uuid, uses: readonly string[]): Promise<TemplateSource[]>
  /** What uses a layout or partial as it is published, itself or through others: the newest of it. */
  readUsers(tenantId: Uuid, use: string): Promise<TemplateBundle[]>
}

/** Each takes some milliseconds, and whoever publishes waits for it. */
const maxCheckedUsers = 200
/** Characters of sources that are kept in memory. */
const maxKeptCharacters = 16_000_000

export function createTemplateLibrary({ engine }: Pick<Database, 'engine'>): TemplateLibrary {
  const memory = createSourceMemory(engine)
  const find: TemplateLibrary['find'] = async (tenantId, asked) => {
    const found = await findVersions(engine, tenantId, asked)
    const versions = found.filter((version) => typeof version !== 'string')
    const shared = await findParts(engine, tenantId, [...new Set(versions.flatMap(({ uses }) => uses))])
    const contents = await memory.read(tenantId, [...versions, ...shared])
    return found.map((version, i) => {
      if (typeof version === 'string') return { ok: false, fault: faultOf(version, asked[i]!) }
      const used = reachable(version.uses, shared)
      const sources = [version, ...used].map((ref) => toSource(ref, contents))
      const key = [version, ...used].map(({ id }) => id).join(' ')
      const bundle = { key, root: sources[0]!, parts: sources.slice(1) }
      return { ok: true, value: { version, bundle, content: contents.get(version.id)! } }
    })
  }
  return {
    find,
    readParts: async (tenantId, uses) => {
      const refs = await findParts(engine, tenantId, uses)
      const contents = await memory.read(tenantId, refs)
      return refs.map((ref) => toSource(ref, contents))
    },
    readUsers: async (tenantId, use) => {
      const slugs = await findDependents(engine, tenantId, use, maxCheckedUsers)
      const found = await find(
        tenantId,
        slugs.map((slug) => ({ slug, version: null })),
      )
      return found.flatMap((one) => (one.ok ? [one.value.bundle] : []))
    },
  }
}

function faultOf(found: Exclude<FoundVersion, VersionRef>, { slug }: AskedVersion): FieldFault {
  if (found === 'unknown')
    return {
      path: '/slug',
      message: `There is no template "${slug.slice(0, 64)}". GET /templates lists what there is.`,
    }
  if (found === 'no_version')
    return {
      path: '/version',
      message: `"${slug}" has no such version: see GET /templates/:id/versions.`,
    }
  return {
    path: '/slug',
    message: `No version of "${slug}" is published: POST /templates/:id/publish, or name a version.`,
  }
}

/** Those of the shared ones that a version uses itself, in their order. */
function reachable(uses: readonly string[], shared: readonly VersionRef[]): VersionRef[] {
  const byName = new Map(shared.map((part) => [`${part.kind}/${part.slug}`, part]))
  const found = new Set<VersionRef>()
  const open = [...uses]
  for (let name = open.pop(); name !== undefined; name = open.pop()) {
    const part = byName.get(name)
    if (part === undefined || found.has(part)) continue
    found.add(part)
    open.push(...part.uses)
  }
  return shared.filter((part) => found.has(part))
}

function toSource(
  { id, kind, slug }: VersionRef,
  contents: ReadonlyMap<Uuid, TemplateContent>,
): TemplateSource {
  const { subject, text, html } = contents.get(id)!
  return { kind, slug, subject, text, html }
}

/** Contents of versions, which never change: what was not asked for longest goes first. */
function createSourceMemory(engine: Database['engine']) {
  const kept = new Map<Uuid, TemplateContent>()
  let characters = 0
  const keep = (id: Uuid, content: TemplateContent) => {
    characters += kept.has(id) ? 0 : lengthOf(content)
    kept.delete(id)
    kept.set(id, content)
    for (const [oldest, { ...old }] of kept) {
      if (characters <= maxKeptCharacters) break
      kept.delete(oldest)
      characters -= lengthOf(old)
    }
  }
  return {
    read: async (
      tenantId: Uuid,
      refs: readonly VersionRef[],
    ): Promise<ReadonlyMap<Uuid, TemplateContent>> => {
      const found = new Map<Uuid, TemplateContent>()
      for (const { id } of refs) {
        const content = kept.get(id)
        if (content) found.set(id, content)
      }
      const absent = refs.flatMap(({ id }) => (found.has(id) ? [] : [id]))
      const read = absent.length === 0 ? new Map() : await readContents(engine, tenantId, absent)
      for (const [id, content] of [...found, ...read]) {
        found.set(id, content)
        keep(id, content)
      }
      if (refs.some(({ id }) => !found.has(id)))
        throw conflict('changed', {
          detail: 'The template was changed this moment. Repeat the request.',
        })
      return found
    },
  }
}

function lengthOf({ subject, text, html }: TemplateContent): number {
  return 1_000 + (subject?.length ?? 0) + (text?.length ?? 0) + (html?.length ?? 0)
}
