/** Templates, layouts and partials as people manage them, and their versions. What a send reads of them is in template-bundles.ts. */
import type { TemplateContent, TemplateKind, Uuid } from '@valija/core'
import type pg from 'pg'
import { type Database, readAsTenant, writeAsTenant } from './database.ts'
import { databaseCodeOf } from './database-errors.ts'
import type { Page } from './keys.ts'

export interface StoredTemplate {
  id: Uuid
  slug: string
  name: string
  kind: TemplateKind
  latestVersion: number
  /** Null: none yet. */
  publishedVersion: number | null
  createdAt: Date
  updatedAt: Date
}

/** With its newest version. */
export type WholeTemplate = StoredTemplate & TemplateContent

export interface StoredVersion extends TemplateContent {
  id: Uuid
  number: number
  uses: string[]
  sizeBytes: number
  createdAt: Date
  /** When it was published first. */
  publishedAt: Date | null
}

export interface NewVersion extends TemplateContent {
  id: Uuid
  /** Layouts and partials that it names: `layout/base`. */
  uses: readonly string[]
}

/** Of one tenant. */
export const maxTemplates = 1_000
/** Of one template: older ones are forgotten, but never the published one. */
export const maxVersions = 100

const columns = `t.id, t.slug, t.name, t.kind, t.latest_version AS "latestVersion", t.published_version AS "publishedVersion",
  t.created_at AS "createdAt", t.updated_at AS "updatedAt"`
const versionColumns = `v.id, v.number, v.subject, v.text, v.html, v.variables, v.uses, v.created_at AS "createdAt", v.published_at AS "publishedAt",
  coalesce(octet_length(v.subject), 0) + coalesce(octet_length(v.text), 0) + coalesce(octet_length(v.html), 0) AS "sizeBytes"`

/** Newest first. */
export function listTemplates(
  database: Database,
  tenantId: Uuid,
  page: Page & { slug?: string; kind?: TemplateKind },
): Promise<StoredTemplate[]> {
  return readAsTenant(database, tenantId, async (client) => {
    const { rows } = await client.query<StoredTemplate>(
      `SELECT ${columns} FROM valija.templates t
        WHERE t.tenant_id = $1 AND ($2::uuid IS NULL OR t.id < $2) AND ($4::text IS NULL OR t.slug = $4) AND ($5::text IS NULL OR t.kind = $5)
        ORDER BY t.id DESC LIMIT $3`,
      [tenantId, page.after, page.limit, page.slug ?? null, page.kind ?? null],
    )
    return rows
  })
}

export function findTemplate(database: Database, tenantId: Uuid, id: Uuid): Promise<WholeTemplate | null> {
  return readAsTenant(database, tenantId, (client) => readWhole(client, tenantId, id))
}

async function readWhole(client: pg.PoolClient, tenantId: Uuid, id: Uuid): Promise<WholeTemplate | null> {
  const { rows } = await client.query<WholeTemplate>(
    `SELECT ${columns}, v.subject, v.text, v.html, v.variables
       FROM valija.templates t JOIN valija.template_versions v ON v.template_id = t.id AND v.number = t.latest_version
      WHERE t.id = $1 AND t.tenant_id = $2`,
    [id, tenantId],
  )
  return rows[0] ?? null
}

export interface NewTemplate {
  id: Uuid
  slug: string
  name: string
  kind: TemplateKind
  version: NewVersion
  isPublished: boolean
}

/** @returns `taken`: there is one with this slug; `full`: there are too many */
export function insertTemplate(
  database: Database,
  tenantId: Uuid,
  { id, slug, name, kind, version, isPublished }: NewTemplate,
): Promise<WholeTemplate | 'taken' | 'full'> {
  return writeAsTenant(database, tenantId, async (client) => {
    // Without a lock, for which others would wait: of some that add the last one at once all may.
    const counted = await client.query<{ count: number }>(
      'SELECT count(*)::int AS count FROM valija.templates WHERE tenant_id = $1',
      [tenantId],
    )
    if (counted.rows[0]!.count >= maxTemplates) return 'full' as const
    const { rowCount } = await client.query(
      `INSERT INTO valija.templates (id, tenant_id, slug, name, kind, latest_version, published_version)
       VALUES ($1, $2, $3, $4, $5, 1, CASE WHEN $6 THEN 1 END) ON CONFLICT (tenant_id, slug) DO NOTHING`,
      [id, tenantId, slug, name, kind, isPublished],
    )
    if (rowCount === 0) return 'taken' as const
    await insertVersion(client, { tenantId, templateId: id, number: 1, isPublished }, version)
    return (await readWhole(client, tenantId, id))!
  })
}

async function insertVersion(
  client: pg.PoolClient,
  place: { tenantId: Uuid; templateId: Uuid; number: number; isPublished: boolean },
  { id, subject, text, html, variables, uses }: NewVersion,
): Promise<void> {
  const { tenantId, templateId, number, isPublished } = place
  await client.query(
    `INSERT INTO valija.template_versions (id, tenant_id, template_id, number, subject, text, html, variables, uses, published_at)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, CASE WHEN $10 THEN now() END)`,
    [id, tenantId, templateId, number, subject, text, html, JSON.stringify(variables), uses, isPublished],
  )
}

export interface TemplateChange {
  /** The newest version that the change was made to. */
  latestVersion: number
  slug?: string
  name?: string
  /** A new version. */
  version?: NewVersion
  /** Publishes this version number; the new one's is the next. */
  publish?: number
}

/** @returns null: there is no such template; `taken`: another one has the slug; `changed`: somebody else has changed it meanwhile */
export async function updateTemplate(
  database: Database,
  tenantId: Uuid,
  id: Uuid,
  change: TemplateChange,
): Promise<WholeTemplate | 'taken' | 'changed' | null> {
  const written = writeAsTenant(database, tenantId, async (client) => {
    const { slug, version, publish } = change
    const found = await client.query<{ latest: number; slug: string }>(
      'SELECT latest_version AS latest, slug FROM valija.templates WHERE id = $1 AND tenant_id = $2 FOR UPDATE',
      [id, tenantId],
    )
    const present = found.rows[0]
    if (present === undefined) return null
    if (present.latest !== change.latestVersion) return 'changed' as const
    if (slug !== undefined && slug !== present.slug && (await isTaken(client, tenantId, slug)))
      return 'taken' as const
    const number = present.latest + 1
    if (version !== undefined)
      await insertVersion(
        client,
        { tenantId, templateId: id, number, isPublished: publish === number },
        version,
      )
    await client.query(
      `UPDATE valija.templates SET slug = coalesce($3, slug), name = coalesce($4, name), updated_at = now(),
         latest_version = CASE WHEN $5 THEN latest_version + 1 ELSE latest_version END, published_version = coalesce($6, published_version)
        WHERE id = $1 AND tenant_id = $2`,
      [id, tenantId, slug ?? null, change.name ?? null, version !== undefined, publish ?? null],
    )
    if (publish !== undefined) await markPublished(client, id, publish)
    await forgetOldVersions(client, id)
    return readWhole(client, tenantId, id)
  })
  return written.catch((error: unknown) => {
    // Of two that take it at the same moment the index refuses the second.
    if (databaseCodeOf(error) === '23505') return 'taken'
    throw error
  })
}

async function isTaken(client: pg.PoolClient, tenantId: Uuid, slug: string): Promise<boolean> {
  const { rowCount } = await client.query('SELECT FROM valija.templates WHERE tenant_id = $1 AND slug = $2', [
    tenantId,
    slug,
  ])
  return rowCount !== 0
}

async function markPublished(client: pg.PoolClient, templateId: Uuid, number: number): Promise<void> {
  await client.query(
    `UPDATE valija.template_versions SET published_at = now()
      WHERE template_id = $1 AND number = $2 AND published_at IS NULL`,
    [templateId, number],
  )
}

async function forgetOldVersions(client: pg.PoolClient, templateId: Uuid): Promise<void> {
  await client.query(
    `DELETE FROM valija.template_versions v USING valija.templates t
      WHERE t.id = $1 AND v.template_id = t.id AND v.number <= t.latest_version - $2 AND v.number IS DISTINCT FROM t.published_version`,
    [templateId, maxVersions],
  )
}

/** @returns whether there was one */
export function deleteTemplate(database: Database, tenantId: Uuid, id: Uuid): Promise<boolean> {
  return writeAsTenant(database, tenantId, async (client) => {
    const { rowCount } = await client.query('DELETE FROM valija.templates WHERE id = $1 AND tenant_id = $2', [
      id,
      tenantId,
    ])
    return rowCount === 1
  })
}

/** Newest first, without their sources. */
export function listVersions(
  database: Database,
  tenantId: Uuid,
  templateId: Uuid,
  page: Page,
): Promise<Pick<StoredVersion, 'id' | 'number' | 'sizeBytes' | 'createdAt' | 'publishedAt'>[]> {
  return readAsTenant(database, tenantId, async (client) => {
    const { rows } = await client.query<StoredVersion>(
      `SELECT ${versionColumns.replace('v.subject, v.text, v.html, v.variables, v.uses, ', '')} FROM valija.template_versions v
        WHERE v.tenant_id = $1 AND v.template_id = $2 AND ($3::uuid IS NULL OR v.id < $3) ORDER BY v.id DESC LIMIT $4`,
      [tenantId, templateId, page.after, page.limit],
    )
    return rows
  })
}

export function findVersion(
  database: Database,
  tenantId: Uuid,
  templateId: Uuid,
  number: number,
): Promise<StoredVersion | null> {
  return readAsTenant(database, tenantId, async (client) => {
    const { rows } = await client.query<StoredVersion>(
      `SELECT ${versionColumns} FROM valija.template_versions v WHERE v.tenant_id = $1 AND v.template_id = $2 AND v.number = $3`,
      [tenantId, templateId, number],
    )
    return rows[0] ?? null
  })
}

/** Slugs of templates whose published or newest version names a layout or partial. */
export function findUsers(database: Database, tenantId: Uuid, use: string): Promise<string[]> {
  return readAsTenant(database, tenantId, async (client) => {
    const { rows } = await client.query<{ slug: string }>(
      `SELECT DISTINCT t.slug FROM valija.templates t JOIN valija.template_versions v ON v.template_id = t.id
        WHERE t.tenant_id = $1 AND v.number IN (t.published_version, t.latest_version) AND v.uses @> ARRAY[$2] ORDER BY t.slug LIMIT 5`,
      [tenantId, use],
    )
    return rows.map(({ slug }) => slug)
  })
}
