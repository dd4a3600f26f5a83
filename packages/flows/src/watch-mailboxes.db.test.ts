/** How a worker looks after mailboxes whose servers are slow or mean us ill: against a real PostgreSQL, with scripted sessions. */
import { createIdSource, createSealer, type Uuid } from '@valija/core'
import { MailboxFailure, type MailboxSession, type MailboxTarget } from '@valija/courier'
import { type Database, openDatabase, openWake, type Wake } from '@valija/store'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { createDatabase, type TestDatabase } from '../../../tests/support/database.ts'
import { until } from '../../../tests/support/until.ts'
import { sealMailboxPassword } from './mailbox-password.ts'
import { createMailboxWatcher, type MailboxTimings, type MailboxWatcher } from './watch-mailboxes.ts'

const nextId = createIdSource(Date.now)
const sealer = createSealer(['the secret of this test'])
const [slow, other] = [nextId(), nextId()]
let target: TestDatabase
let database: Database
let wake: Wake
let watcher: MailboxWatcher

beforeAll(async () => {
  target = await createDatabase()
  database = openDatabase({ url: target.url, onError: () => undefined })
  wake = await openWake(target.url, () => undefined)
  await database.engine.query(`INSERT INTO valija.tenants (id, name) VALUES ($1, 'slow'), ($2, 'other')`, [
    slow,
    other,
  ])
})
afterEach(async () => {
  await watcher.stop()
  await database.engine.query('DELETE FROM valija.mailboxes')
})
afterAll(async () => {
  await wake.close()
  await database.close()
  await target.drop()
})

async function add(tenantId: Uuid | null, host: string): Promise<Uuid> {
  const id = nextId()
  await database.engine.query(
    `INSERT INTO valija.mailboxes (id, tenant_id, name, protocol, host, port, tls, username, password, folder, done_folder)
     VALUES ($1, $2, 'm', 'imap', $3, 993, 'implicit', 'u', $4, 'INBOX', 'Done')`,
    [id, tenantId, host, sealMailboxPassword(sealer, tenantId, id, 'p')],
  )
  return id
}

const lookedAt = async (id: Uuid) =>
  (await database.engine.query('SELECT looked_at AS at FROM valija.mailboxes WHERE id = $1', [id])).rows[0].at

function start(open: (target: MailboxTarget) => MailboxSession, timings: Partial<MailboxTimings> = {}): void {
  const nothing = () => undefined
  watcher = createMailboxWatcher({
    ...{ database, sealer, wake, nextId, timings },
    open: async (at) => open(at),
    take: async () => ({ outcome: 'ignored', reason: 'other' }),
    log: { failed: nothing, recovered: nothing, unreadable: nothing },
    onError: (error) => {
      throw error
    },
  })
  watcher.start()
}

/** Resolves when a watcher is to stop; it may have been told so already, while it wrote down its last look. */
function whenStopped(stop: AbortSignal): PromiseWithResolvers<void> {
  const stopped = Promise.withResolvers<void>()
  if (stop.aborted) stopped.resolve()
  else stop.addEventListener('abort', () => stopped.resolve(), { once: true })
  return stopped
}

/** An empty mailbox whose server tells of nothing. */
const quiet: MailboxSession = {
  canWait: true,
  list: async () => [],
  read: async () => null,
  remove: async () => undefined,
  waitForNews: (_, stop) => whenStopped(stop).promise,
  finish: async () => undefined,
  close: () => undefined,
}

test('however many of one tenant’s servers take their time over a mail, another tenant’s mail is read at once', async () => {
  const isClosed = Promise.withResolvers<never>()
  isClosed.promise.catch(() => undefined)
  let stuck = 0
  let isRead = false
  const endless = (): MailboxSession => ({
    ...quiet,
    list: async () => ['1'],
    read: () => {
      stuck += 1
      return isClosed.promise
    },
    close: () => isClosed.reject(new MailboxFailure('connection_lost', 'closed')),
  })
  const prompt: MailboxSession = {
    ...quiet,
    list: async () => ['1'],
    read: async () => {
      isRead = true
      return { bytes: Buffer.from('Subject: x\n\n'), isCut: false }
    },
  }
  for (let n = 0; n < 5; n += 1) await add(slow, 'slow.test')
  start(({ host }) => (host === 'slow.test' ? endless() : prompt))
  await until('the slow ones have what they may have', () => stuck === 2)
  await add(other, 'prompt.test')
  await wake.send('mailboxes')
  await until('the other tenant’s mail is read', () => isRead, 5_000)
  expect(stuck).toBe(2)
})

test('a server that has news without end is looked at now and then, and nothing is written of it; after quiet at once', async () => {
  const looks: number[] = []
  let calm = false
  let news = () => {}
  const id = await add(other, 'news.test')
  start(
    () => ({
      ...quiet,
      list: async () => {
        looks.push(performance.now())
        return []
      },
      waitForNews: async (_, stop) => {
        if (!calm) return
        const waiting = whenStopped(stop)
        news = waiting.resolve
        await waiting.promise
      },
    }),
    { betweenMs: 2_000 },
  )
  await until('some looks', () => looks.length >= 2)
  const noted = await lookedAt(id)
  await until('more looks', () => looks.length >= 4)
  calm = true
  const pauses = looks.slice(1).map((at, n) => at - looks[n]!)
  expect(Math.min(...pauses)).toBeGreaterThanOrEqual(1_990)
  expect(await lookedAt(id)).toEqual(noted)
  await until('quiet', async () => {
    const before = looks.length
    await new Promise((resolve) => setTimeout(resolve, 2_500))
    return looks.length === before
  })
  const toldAt = performance.now()
  news()
  await until('a look', () => looks.at(-1)! > toldAt)
  expect(looks.at(-1)! - toldAt).toBeLessThan(1_500)
})
