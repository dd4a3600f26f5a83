/** The commands for after a restore, at a database: what they say. What they do is resume-after-restore.db.test.ts's matter. */
import { createIdSource, formatId } from '@valija/core'
import { findAuditEntries } from '@valija/store'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { openTestApi, type TestApi } from '../../api/src/open-api.test-support.ts'
import { runCommand } from './run-command.test-support.ts'

let api: TestApi
beforeAll(async () => {
  api = await openTestApi()
  vi.stubEnv('DATABASE_URL', api.foundation.database.url)
  vi.stubEnv('VALIJA_SECRET_KEY', 'a-secret-of-this-test-long-enough')
})
afterAll(async () => {
  vi.unstubAllEnvs()
  await api?.close()
})

const restore = (...words: string[]) => runCommand(['restore', ...words])

test('what is held is shown, released and ended, as text and as JSON', async () => {
  expect(await restore()).toEqual({ code: 0, out: 'Nothing is held.\n', err: '' })
  await api.send()
  await api.send({ stream: 'bulk' })
  expect(await restore('hold')).toMatchObject({
    code: 0,
    out: expect.stringMatching(/^held: 2 recipients, of what was due by 20\S+Z \(UTC\)\n$/),
  })
  expect((await restore()).out).toMatch(/^default +ten_[0-9a-f]{32} +bulk +1 +no$/m)
  expect(JSON.parse((await restore('--json')).out).held).toMatchObject([
    { stream: 'bulk', recipients: 1, at_most_once: false },
    { stream: 'transactional', recipients: 1 },
  ])
  const released = await restore('release', '--stream', 'transactional', '--json')
  expect(JSON.parse(released.out)).toEqual({ released: 1, ended: 0 })
  const tenantId = formatId('tenant', api.tenant.id)
  const ended = await restore('end', '--tenant', tenantId)
  expect(ended.out).toBe('ended as uncertain: 1 recipient\n')
  expect(JSON.parse(ended.err)).toMatchObject({
    msg: 'failed',
    message: expect.stringMatching(/^msg_/),
    attempt: 1,
  })
  const search = {
    key: 'operator',
    target: null,
    afterMs: null,
    beforeMs: null,
    limit: 10,
    olderThan: null,
  } as const
  const noted = await findAuditEntries(api.foundation.database, null, { ...search, action: null })
  expect(noted.map(({ action, target, clientIp }) => [action, target, clientIp]).slice(0, 3)).toEqual([
    ['restored_mail.ended', tenantId, 'local'],
    ['restored_mail.released', null, 'local'],
    ['restored_mail.held', null, 'local'],
  ])
})

test('what is typed wrongly is refused before anything is done', async () => {
  expect(await restore('hold', '--lost-at', 'yesterday')).toMatchObject({
    code: 2,
    err: expect.stringContaining('--lost-at takes a time'),
  })
  const ahead = await restore('hold', '--lost-at', '2999-01-01T00:00:00Z')
  expect(ahead).toMatchObject({ code: 1, err: expect.stringContaining('is still to come') })
  expect(await restore('release', '--stream', 'fast')).toMatchObject({ code: 2 })
  expect(await restore('end', '--tenant', 'acme')).toMatchObject({ code: 2 })
  const nobody = formatId('tenant', createIdSource(Date.now)())
  for (const command of ['end', 'release']) {
    expect(await restore(command, '--tenant', nobody)).toMatchObject({
      code: 2,
      err: expect.stringContaining(`There is no tenant ${nobody}`),
    })
  }
})
