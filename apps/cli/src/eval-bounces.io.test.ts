/** `eval-bounces` as it is run, over the samples of packages/mail. */
import { execFile } from 'node:child_process'
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterEach, expect, test } from 'vitest'

const samples = fileURLToPath(new URL('../../../packages/mail/src/incoming/samples', import.meta.url))
const main = fileURLToPath(new URL('main.ts', import.meta.url))
const folders: string[] = []
afterEach(async () => {
  await Promise.all(folders.splice(0).map((folder) => rm(folder, { recursive: true })))
})

async function run(...args: string[]): Promise<string> {
  const { stdout } = await promisify(execFile)(process.execPath, [main, 'eval-bounces', ...args])
  return stdout
}

/** A copy of the samples with other expectations of one of them. */
async function changedSamples(file: string, entries: unknown[]): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'bounces-'))
  folders.push(folder)
  await cp(samples, folder, { recursive: true })
  const expected = JSON.parse(await readFile(join(folder, 'expected.json'), 'utf8'))
  await writeFile(join(folder, 'expected.json'), JSON.stringify({ ...expected, [file]: entries }))
  return folder
}

test('agrees with all samples, and says so in shares between 0 and 1', async () => {
  expect(JSON.parse(await run(samples, '--json'))).toEqual({
    summary: { mails: 177, recipient: 1, hard: 1, reason: 1, false_suppressions: 0 },
    misses: [],
  })
})

test('tells each miss, and counts its field only', async () => {
  const entry = { index: 1, reason: 'mailboxfull', hard: true, recipient: 'jo@example.net' }
  const { summary, misses } = JSON.parse(await run(await changedSamples('qmail.eml', [entry]), '--json'))
  expect(summary.recipient).toBeLessThan(1)
  expect(summary.hard).toBeLessThan(1)
  expect(misses).toContainEqual(
    expect.objectContaining({ file: 'qmail.eml', field: 'reason', expected: 'mailboxfull' }),
  )
  expect(misses).toContainEqual(
    expect.objectContaining({ file: 'qmail.eml', field: 'recipient', recipient: 'ann@example.org' }),
  )
})

test('counts a suppression by a mail that is no bounce', async () => {
  const { summary } = JSON.parse(await run(await changedSamples('postfix.eml', []), '--json'))
  expect(summary.false_suppressions).toBe(1)
})

test('shows people the shares, each reason and the misses', async () => {
  const text = await run(
    await changedSamples('postfix.eml', [{ reason: 'spamdetected', recipient: 'jo@example.net' }]),
  )
  expect(text).toContain('177 mails')
  expect(text).toMatch(/recipient +100\.0 %/)
  expect(text).toMatch(/mailboxfull +\d+ of \d+/)
  expect(text).toContain(
    'postfix.eml jo@example.net: reason should be spamdetected, is mailbox_unknown (hard)',
  )
})

test('says what is missing in a folder that it cannot use', async () => {
  await expect(run(tmpdir())).rejects.toMatchObject({
    stderr: expect.stringMatching(/^valija: .*expected\.json/),
  })
})
