/**
 * What a send reads of templates: which version is asked for, and which layouts and partials it uses, as they are published this moment.
 * Sources are read once per process, for versions never change.
 */
import type { TemplateContent, TemplateKind, Uuid } from '@valija/core'
import type pg from 'pg'

/** A version that is there, without its sources. */
export interface VersionRef {
  id: Uuid
  templateId: Uuid
  kind: TemplateKind
  slug: string
  number: number
  /** `layout/base`, `partial/footer`. */
  uses: string[]
}

export interface AskedVersion {
  slug: string
  /** Null: the published one. */
  version: number | null
}

/** `unknown`: no such slug. `unpublished`: there is no published version. `no_version`: none of this number. */
export type FoundVersion = VersionRef | 'unknown' | 'unpublished' | 'no_version'

/** @returns for each that is asked for, in order */
export async function findVersions(
  engine: pg.Pool,
  tenantId: Uuid,
  asked: readonly AskedVersion[],
): Promise<FoundVersion[]> {
  const { rows } = await engine.query<VersionRow>(
    `SELECT asked.number IS NOT NULL AS "isNumbered", t.id AS "templateId", t.kind, t.slug, v.id, v.number, v.uses
       FROM unnest($2::text[], $3::integer[]) WITH ORDINALITY AS asked (slug, number, position)
       LEFT JOIN valija.templates t ON t.tenant_id = $1 AND t.slug = asked.slug
       LEFT JOIN valija.template_versions v ON v.template_id = t.id AND v.number = coalesce(asked.number, t.published_version)
      ORDER BY asked.position`,
    [tenantId, asked.map(({ slug }) => slug), asked.map(({ version }) => version)],
  )
  return rows.map(({ isNumbered, ...row }) => {
    if (row.templateId === null) return 'unknown'
    if (row.id === null) return isNumbered ? 'no_version' : 'unpublished'
    return row as VersionRef
  })
}

type VersionRow = { [Key in keyof VersionRef]: VersionRef[Key] | null } & { isNumbered: boolean }

/** Layouts and partials, and what those use, as they are published; what is not there is left out. */
export async function findParts(
  engine: pg.Pool,
  tenantId: Uuid,
  uses: readonly string[],
): Promise<VersionRef[]> {
  if (uses.length === 0) return []
  const { rows } = await engine.query<VersionRef>(
    `WITH RECURSIVE used (use) AS (
       SELECT unnest($2::text[])
       UNION
       SELECT unnest(v.uses) FROM used JOIN valija.templates t ON t.tenant_id = $1 AND t.kind = split_part(use, '/', 1) AND t.slug = split_part(use, '/', 2)
         JOIN valija.template_versions v ON v.template_id = t.id AND v.number = t.published_version
     )
     SELECT t.id AS "templateId", t.kind, t.slug, v.id, v.number, v.uses
       FROM used JOIN valija.templates t ON t.tenant_id = $1 AND t.kind = split_part(use, '/', 1) AND t.slug = split_part(use, '/', 2)
       JOIN valija.template_versions v ON v.template_id = t.id AND v.number = t.published_version
      ORDER BY v.id`,
    [tenantId, uses],
  )
  return rows
}

/** Slugs of what uses a layout or partial as it is published, itself or through others; the newest first. */
export async function findDependents(
  engine: pg.Pool,
  tenantId: Uuid,
  use: string,
  limit: number,
): Promise<string[]> {
  const { rows } = await engine.query<{ slug: string }>(
    `WITH RECURSIVE dependent (id, use) AS (
       SELECT NULL::uuid, $2::text
       UNION
       SELECT t.id, t.kind || '/' || t.slug FROM dependent JOIN valija.template_versions v ON v.tenant_id = $1 AND v.uses @> ARRAY[dependent.use]
         JOIN valija.templates t ON t.tenant_id = $1 AND t.id = v.template_id AND t.published_version = v.number
     )
     SELECT t.slug FROM dependent JOIN valija.templates t ON t.tenant_id = $1 AND t.id = dependent.id
      WHERE dependent.use <> $2 GROUP BY t.id, t.slug ORDER BY t.id DESC LIMIT $3`,
    [tenantId, use, limit],
  )
  return rows.map(({ slug }) => slug)
}

/** What versions hold, by their ids. */
export async function readContents(
  engine: pg.Pool,
  tenantId: Uuid,
  ids: readonly Uuid[],
): Promise<Map<Uuid, TemplateContent>> {
  const { rows } = await engine.query<TemplateContent & { id: Uuid }>(
    `SELECT id, subject, text, html, variables FROM valija.template_versions WHERE tenant_id = $1 AND id = ANY($2)`,
    [tenantId, ids],
  )
  return new Map(rows.map(({ id, ...content }) => [id, content]))
}
