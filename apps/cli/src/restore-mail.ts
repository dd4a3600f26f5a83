/** What `valija restore` does and says. Each recipient that it ends is a line of the mail log, on standard error. */
import { createMailLog, formatId, type MailLog, parseId, streams } from '@valija/core'
import {
  endAfterRestore,
  type Foundation,
  holdAfterRestore,
  noteAtDatabase,
  openFoundation,
  releaseAfterRestore,
} from '@valija/flows'
import { createLogger, environment, lineWriter, loadConfig } from '@valija/runtime'
import { countRestored, type Database, findTenant, type RestoredFilter } from '@valija/store'
import { UsageError } from './command.ts'
import { counted } from './in-commands.ts'
import { print, printJson, printTable } from './output.ts'

interface FilterFlags {
  tenant: string | undefined
  stream: string | undefined
  json: boolean
}

type Parts = Foundation & { mailLog: MailLog }

async function atDatabase<T>(work: (parts: Parts) => Promise<T>): Promise<T> {
  const { databaseUrl, secretKeys, logLevel } = loadConfig(environment(), 'cli')
  if (databaseUrl === null || secretKeys.length === 0)
    throw new Error('This works at the database: set DATABASE_URL and VALIJA_SECRET_KEY.')
  const foundation = await openFoundation({
    databaseUrl,
    redisUrl: null,
    secretKeys,
    onError: (error) => process.stderr.write(`valija: ${error.message}\n`),
  })
  const log = createLogger({ level: logLevel, name: 'restore', destination: process.stderr })
  try {
    return await work({ ...foundation, mailLog: createMailLog(lineWriter(log)) })
  } finally {
    await foundation.close()
  }
}

export const show = ({ json }: { json: boolean }): Promise<void> =>
  atDatabase(async ({ database }) => {
    const rows = await countRestored(database.engine)
    const held = rows.map(({ tenantId, name, stream, count, isAtMostOnce }) => ({
      ...{ tenant_id: formatId('tenant', tenantId), name, stream, recipients: count },
      at_most_once: isAtMostOnce,
    }))
    if (json) return printJson({ held })
    if (held.length === 0) return print('Nothing is held.\n')
    printTable(
      ['tenant', 'id', 'stream', 'recipients', 'at most once'],
      held.map((one) => [
        one.name,
        one.tenant_id,
        one.stream,
        one.recipients,
        one.at_most_once ? 'yes' : 'no',
      ]),
    )
  })

export const hold = (flags: { 'lost-at': string | undefined; json: boolean }): Promise<void> => {
  const lostAt = readTime(flags['lost-at'])
  return atDatabase(async (foundation) => {
    const { held, dueBy } = await holdAfterRestore(foundation, lostAt)
    await noteAtDatabase(foundation.database, 'holdRestoredMail', null)
    const by = dueBy.toISOString()
    if (flags.json) printJson({ held, due_by: by })
    else print(`held: ${counted(held, 'recipient')}, of what was due by ${by} (UTC)\n`)
  })
}

export const release = (flags: FilterFlags): Promise<void> => {
  const filter = readFilter(flags)
  return atDatabase(async (foundation) => {
    await checkTenant(foundation.database, filter)
    const { released, ended } = await releaseAfterRestore(foundation, filter)
    await noteAtDatabase(foundation.database, 'releaseRestoredMail', flags.tenant ?? null)
    if (flags.json) printJson({ released, ended })
    else print(`released: ${counted(released, 'recipient')}\nended as uncertain (at_most_once): ${ended}\n`)
  })
}

export const end = (flags: FilterFlags): Promise<void> => {
  const filter = readFilter(flags)
  return atDatabase(async (foundation) => {
    await checkTenant(foundation.database, filter)
    const ended = await endAfterRestore(foundation, filter)
    await noteAtDatabase(foundation.database, 'endRestoredMail', flags.tenant ?? null)
    if (flags.json) printJson({ ended })
    else print(`ended as uncertain: ${counted(ended, 'recipient')}\n`)
  })
}

/** One that was deleted may have mail that is held yet. @throws {UsageError} for an id of nobody's: most likely it is mistyped */
async function checkTenant(database: Database, { tenantId }: RestoredFilter): Promise<void> {
  if (tenantId === null || (await findTenant(database, tenantId)) !== null) return
  const rows = await countRestored(database.engine)
  if (rows.some((row) => row.tenantId === tenantId)) return
  throw new UsageError(`There is no tenant ${formatId('tenant', tenantId)}, and nothing of one is held.`)
}

function readTime(text: string | undefined): Date | null {
  if (text === undefined) return null
  const isTime = /^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)$/.test(text)
  if (!isTime || Number.isNaN(Date.parse(text)))
    throw new UsageError(`--lost-at takes a time such as 2026-11-27T16:05:00Z, not "${text}".`)
  return new Date(text)
}

function readFilter({ tenant, stream: name }: FilterFlags): RestoredFilter {
  const tenantId = tenant === undefined ? null : parseId('tenant', tenant)
  const stream = name === undefined ? null : streams.find((one) => one === name)
  if (tenant !== undefined && tenantId === null)
    throw new UsageError(`--tenant takes a tenant's id (ten_…), not "${tenant}".`)
  if (stream === undefined) throw new UsageError(`--stream takes transactional or bulk, not "${name}".`)
  return { tenantId, stream }
}
