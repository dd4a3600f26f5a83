/**
 * Mailboxes, as people manage them. One without a tenant is the operator's, and tenants do not see it. What workers write of them is in
 * mailbox-leases.ts.
 */
import type { MailboxTroubleCode, Uuid } from '@valija/core'
import type pg from 'pg'
import type { Database } from './database.ts'
import { dueNowSql } from './due-now.ts'
import type { MailboxModel } from './generated/prisma/models/Mailbox.ts'
import type { Page } from './keys.ts'
import { asOwner } from './routes.ts'

export const mailboxProtocols = ['imap', 'pop3'] as const
export type MailboxProtocol = (typeof mailboxProtocols)[number]
export const mailboxTlsModes = ['implicit', 'starttls', 'none'] as const
export type MailboxTls = (typeof mailboxTlsModes)[number]

/** What can be set of a mailbox. */
export interface MailboxConfig {
  name: string
  host: string
  port: number
  tls: MailboxTls
  username: string
  /** Sealed for this mailbox. */
  password: Buffer
  /** Of IMAP, else null: the folder that is read, and the one that what was applied is moved to. */
  folder: string | null
  doneFolder: string | null
  state: 'enabled' | 'paused'
}

export interface StoredMailbox extends MailboxConfig {
  id: Uuid
  /** Null: the operator's. */
  tenantId: Uuid | null
  protocol: MailboxProtocol
  createdAt: Date
  /** When it is looked at next, unless news come before. */
  nextLookAt: Date
  /** The last look that went well; null: none yet. */
  lookedAt: Date | null
  /** Null while it goes well. */
  failingSince: Date | null
  failures: number
  errorCode: MailboxTroubleCode | null
  errorDetail: string | null
  appliedCount: number
  reportCount: number
  ignoredCount: number
  otherCount: number
}

export type NewMailbox = MailboxConfig & Pick<StoredMailbox, 'id' | 'tenantId' | 'protocol'>

/** Newest first. */
export async function listMailboxes(
  database: Database,
  owner: Uuid | null,
  page: Page,
): Promise<StoredMailbox[]> {
  const rows = await asOwner(database, owner, (prisma) =>
    prisma.mailbox.findMany({
      where: { tenantId: owner, ...(page.after !== null && { id: { lt: page.after } }) },
      orderBy: { id: 'desc' },
      take: page.limit,
    }),
  )
  return rows.map(toStoredMailbox)
}

export async function findMailbox(
  database: Database,
  owner: Uuid | null,
  id: Uuid,
): Promise<StoredMailbox | null> {
  const row = await asOwner(database, owner, (prisma) =>
    prisma.mailbox.findFirst({ where: { id, tenantId: owner } }),
  )
  return row && toStoredMailbox(row)
}

/** Mailboxes of one owner: each is a connection of some worker. */
export const maxMailboxes = 100

export async function insertMailbox(
  database: Database,
  mailbox: NewMailbox,
): Promise<StoredMailbox | 'full'> {
  const { tenantId, password } = mailbox
  return asOwner(database, tenantId, async (prisma) => {
    if ((await prisma.mailbox.count({ where: { tenantId } })) >= maxMailboxes) return 'full' as const
    // At once by PostgreSQL's clock: Prisma's default for the column is this machine's.
    const [due] = await prisma.$queryRawUnsafe<{ at: Date }[]>(`SELECT ${dueNowSql} AS at`)
    const data = { ...mailbox, password: new Uint8Array(password), nextLookAt: due!.at }
    return toStoredMailbox(await prisma.mailbox.create({ data }))
  })
}

/**
 * Changes a mailbox after `decide` has seen it with its row locked. Whoever looks after it holds it no more, its trouble is forgotten, and
 * it is looked at anew, as it is from now on.
 *
 * @param decide what to write; what it throws undoes everything
 * @returns null when the owner has no such mailbox
 */
export async function updateMailbox(
  database: Database,
  owner: Uuid | null,
  id: Uuid,
  decide: (present: StoredMailbox) => Partial<MailboxConfig>,
): Promise<StoredMailbox | null> {
  return asOwner(database, owner, async (prisma) => {
    await prisma.$queryRaw`SELECT FROM valija.mailboxes WHERE id = ${id}::uuid FOR UPDATE`
    const present = await prisma.mailbox.findFirst({ where: { id, tenantId: owner } })
    if (present === null) return null
    const { password, ...changes } = decide(toStoredMailbox(present))
    await prisma.mailbox.update({
      where: { id },
      data: { ...changes, ...(password !== undefined && { password: new Uint8Array(password) }) },
    })
    await prisma.$executeRawUnsafe(
      `UPDATE valija.mailboxes
       SET holder = NULL, held_until = NULL, next_look_at = ${dueNowSql}, failing_since = NULL, failures = 0, error_code = NULL, error_detail = NULL
       WHERE id = $1::uuid`,
      id,
    )
    return toStoredMailbox(await prisma.mailbox.findUniqueOrThrow({ where: { id } }))
  })
}

/** @returns whether there was one */
export async function deleteMailbox(database: Database, owner: Uuid | null, id: Uuid): Promise<boolean> {
  const { count } = await asOwner(database, owner, (prisma) =>
    prisma.mailbox.deleteMany({ where: { id, tenantId: owner } }),
  )
  return count > 0
}

/** How many mailboxes do how; without a tenant, for metrics. */
export async function countMailboxes(engine: pg.Pool): Promise<{ state: string; count: number }[]> {
  const { rows } = await engine.query<{ state: string; count: number }>(
    `SELECT CASE WHEN state = 'paused' THEN 'paused' WHEN error_code IS NOT NULL THEN 'failing'
       WHEN looked_at IS NULL THEN 'new' ELSE 'ok' END AS state, count(*)::int AS count
     FROM valija.mailboxes GROUP BY 1`,
  )
  return rows
}

function toStoredMailbox(row: MailboxModel): StoredMailbox {
  const { holder: _holder, heldUntil: _heldUntil, ...shown } = row
  // The database's CHECKs know no other words; codes are written from the list of core.
  return {
    ...shown,
    protocol: row.protocol as MailboxProtocol,
    tls: row.tls as MailboxTls,
    state: row.state as MailboxConfig['state'],
    errorCode: row.errorCode as MailboxTroubleCode | null,
    password: Buffer.from(row.password),
    appliedCount: Number(row.appliedCount),
    reportCount: Number(row.reportCount),
    ignoredCount: Number(row.ignoredCount),
    otherCount: Number(row.otherCount),
  }
}
