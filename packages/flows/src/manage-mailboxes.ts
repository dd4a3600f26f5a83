/**
 * Managing mailboxes that bounces land in: a tenant's own, or the installation's. A password is sealed at rest and never shown; it goes to no
 * other host than the one that it was given for.
 */
import {
  type Caller,
  conflict,
  type FieldFault,
  formatId,
  type IdSource,
  invalidRequest,
  type MailboxTroubleCode,
  mailboxTroubles,
  ProductError,
  parseId,
  type Sealer,
  type Uuid,
} from '@valija/core'
import {
  type Database,
  deleteMailbox,
  findMailbox,
  insertMailbox,
  listMailboxes,
  type MailboxConfig,
  type MailboxProtocol,
  type MailboxTls,
  maxMailboxes,
  type StoredMailbox,
  updateMailbox,
  type Wake,
} from '@valija/store'
import { sealMailboxPassword } from './mailbox-password.ts'
import { type PageAnswer, type PageRequest, readPage } from './manage-pages.ts'
import { isHost, ownerOf } from './manage-routes.ts'

export interface MailboxDesk {
  database: Database
  sealer: Sealer
  wake: Pick<Wake, 'send'>
  nextId: IdSource
}

/** The body of PATCH /mailboxes/:id. */
export interface MailboxChange {
  name?: string
  host?: string
  port?: number
  tls?: MailboxTls | boolean
  user?: string
  password?: string
  folder?: string
  done_folder?: string
  state?: 'enabled' | 'paused'
}

/** The body of POST /mailboxes. */
export interface MailboxInput extends MailboxChange {
  name: string
  protocol: MailboxProtocol
  host: string
  port: number
  user: string
  password: string
}

export interface MailboxErrorView {
  code: MailboxTroubleCode
  meaning: string
  detail: string
  remedy: string
}

export interface MailboxView {
  id: string
  name: string
  protocol: MailboxProtocol
  host: string
  port: number
  tls: MailboxTls
  user: string
  folder: string | null
  done_folder: string | null
  state: 'enabled' | 'paused'
  /** `new`: not looked at yet. */
  status: 'new' | 'ok' | 'failing' | 'paused'
  last_look_at: string | null
  next_look_at: string | null
  failing_since: string | null
  failures: number
  error: MailboxErrorView | null
  counts: { applied: number; reports: number; ignored: number; other: number }
  created_at: string
}

export async function showMailboxes(
  desk: MailboxDesk,
  caller: Caller,
  request: PageRequest,
): Promise<PageAnswer<MailboxView>> {
  const owner = ownerOf(caller)
  return readPage('mailbox', request, (page) => listMailboxes(desk.database, owner, page), toView)
}

/** @throws {ProductError} not_found */
export async function requireMailbox(
  desk: Pick<MailboxDesk, 'database'>,
  caller: Caller,
  id: string,
): Promise<StoredMailbox> {
  const uuid = parseId('mailbox', id)
  const mailbox = uuid && (await findMailbox(desk.database, ownerOf(caller), uuid))
  if (!mailbox) throw new ProductError('not_found')
  return mailbox
}

/** @throws {ProductError} not_found */
export async function showMailbox(desk: MailboxDesk, caller: Caller, id: string): Promise<MailboxView> {
  return toView(await requireMailbox(desk, caller, id))
}

/** @throws {ProductError} invalid_request, conflict */
export async function addMailbox(
  desk: MailboxDesk,
  caller: Caller,
  input: MailboxInput,
): Promise<MailboxView> {
  const owner = ownerOf(caller)
  const id = desk.nextId()
  const { name, protocol } = input
  const faults: FieldFault[] = []
  const host = readHost(input.host, faults)
  const folders = readFolders(protocol, { folder: null, doneFolder: null }, input, faults)
  if (faults.length > 0) throw invalidRequest(faults)
  const added = await insertMailbox(desk.database, {
    ...{ id, tenantId: owner, name, protocol, host, port: input.port },
    tls: readTls(input.tls ?? true, input.port),
    username: input.user,
    password: sealMailboxPassword(desk.sealer, owner, id, input.password),
    ...folders,
    state: input.state ?? 'enabled',
  })
  if (added === 'full')
    throw conflict('full', {
      detail: `There are ${maxMailboxes} mailboxes already; delete those that nobody needs.`,
    })
  desk.wake.send('mailboxes')
  return toView(added)
}

/**
 * Changes a mailbox: it is looked at anew, at once, as it is from now on.
 *
 * @throws {ProductError} not_found, invalid_request
 */
export async function changeMailbox(
  desk: MailboxDesk,
  caller: Caller,
  id: string,
  input: MailboxChange,
): Promise<MailboxView> {
  const owner = ownerOf(caller)
  const uuid = parseId('mailbox', id)
  const changed =
    uuid && (await updateMailbox(desk.database, owner, uuid, (present) => decide(desk, present, input)))
  if (!changed) throw new ProductError('not_found')
  desk.wake.send('mailboxes')
  return toView(changed)
}

/** @throws {ProductError} not_found */
export async function removeMailbox(desk: MailboxDesk, caller: Caller, id: string): Promise<void> {
  const uuid = parseId('mailbox', id)
  if (!uuid || !(await deleteMailbox(desk.database, ownerOf(caller), uuid)))
    throw new ProductError('not_found')
  desk.wake.send('mailboxes')
}

function decide(desk: MailboxDesk, present: StoredMailbox, input: MailboxChange): Partial<MailboxConfig> {
  const faults: FieldFault[] = []
  const host = input.host === undefined ? present.host : readHost(input.host, faults)
  const port = input.port ?? present.port
  const folders = readFolders(present.protocol, present, input, faults)
  const leadsElsewhere = input.host !== undefined || input.port !== undefined || input.tls !== undefined
  if (leadsElsewhere && input.password === undefined) {
    const message = 'must be given again: it is not sent to another host, port or TLS mode by itself.'
    faults.push({ path: '/password', message })
  }
  if (faults.length > 0) throw invalidRequest(faults)
  const { id, tenantId } = present
  return {
    name: input.name ?? present.name,
    ...{ host, port, ...folders },
    tls: input.tls === undefined ? present.tls : readTls(input.tls, port),
    username: input.user ?? present.username,
    state: input.state ?? present.state,
    ...(input.password !== undefined && {
      password: sealMailboxPassword(desk.sealer, tenantId, id, input.password),
    }),
  }
}

function readHost(text: string, faults: FieldFault[]): string {
  const host = text.toLowerCase()
  if (!isHost(host)) faults.push({ path: '/host', message: 'is no host name or IP address.' })
  return host
}

/** Ports on which the conversation begins in plaintext (RFC 9051 section 2.1, RFC 1939 section 3); all others begin with TLS (RFC 8314). */
const plainPorts: readonly number[] = [143, 110]

function readTls(given: MailboxTls | boolean, port: number): MailboxTls {
  if (typeof given === 'string') return given
  if (!given) return 'none'
  return plainPorts.includes(port) ? 'starttls' : 'implicit'
}

type Folders = Pick<MailboxConfig, 'folder' | 'doneFolder'>

const usualFolders = { folder: 'INBOX', doneFolder: 'Valija' }

function readFolders(
  protocol: MailboxProtocol,
  present: Folders,
  input: MailboxChange,
  faults: FieldFault[],
): Folders {
  if (protocol === 'pop3') {
    for (const field of ['folder', 'done_folder'] as const)
      if (input[field] !== undefined)
        faults.push({ path: `/${field}`, message: 'is for IMAP; a POP3 mailbox has no folders.' })
    return { folder: null, doneFolder: null }
  }
  const folder = input.folder ?? present.folder ?? usualFolders.folder
  const doneFolder = input.done_folder ?? present.doneFolder ?? usualFolders.doneFolder
  if (isSameFolder(folder, doneFolder))
    faults.push({ path: '/done_folder', message: 'must be another folder than folder.' })
  return { folder, doneFolder }
}

/** INBOX is one name in any case (RFC 9051 section 5.1); of others some servers ignore the case. */
function isSameFolder(one: string, other: string): boolean {
  return one.toLowerCase() === other.toLowerCase()
}

function toView(mailbox: StoredMailbox): MailboxView {
  const { state, errorCode, lookedAt } = mailbox
  const isWatched = state === 'enabled'
  return {
    id: formatId('mailbox', mailbox.id),
    name: mailbox.name,
    protocol: mailbox.protocol,
    host: mailbox.host,
    port: mailbox.port,
    tls: mailbox.tls,
    user: mailbox.username,
    folder: mailbox.folder,
    done_folder: mailbox.doneFolder,
    state,
    status: !isWatched ? 'paused' : errorCode !== null ? 'failing' : lookedAt === null ? 'new' : 'ok',
    last_look_at: lookedAt?.toISOString() ?? null,
    next_look_at: isWatched ? mailbox.nextLookAt.toISOString() : null,
    failing_since: mailbox.failingSince?.toISOString() ?? null,
    failures: mailbox.failures,
    error: errorCode === null ? null : toErrorView(errorCode, mailbox.errorDetail ?? ''),
    counts: {
      applied: mailbox.appliedCount,
      reports: mailbox.reportCount,
      ignored: mailbox.ignoredCount,
      other: mailbox.otherCount,
    },
    created_at: mailbox.createdAt.toISOString(),
  }
}

export function toErrorView(code: MailboxTroubleCode, detail: string): MailboxErrorView {
  const { meaning, remedy } = mailboxTroubles[code]
  return { code, meaning, detail, remedy }
}

/** Whose mailbox it is, for logs; null: the operator's. */
export function formatOwner(tenantId: Uuid | null): string | null {
  return tenantId === null ? null : formatId('tenant', tenantId)
}
