import { chmod, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { loadOrCreateSecrets, SecretsFileError } from './secrets-file.ts'

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), 'valija-secrets-'))
})
afterEach(() => rm(folder, { recursive: true, force: true }))

test('the keys are made once, kept, and readable by the owner alone', async () => {
  const dataDir = path.join(folder, 'deep', 'data')
  const made = await loadOrCreateSecrets(dataDir)
  expect(made.secretKey).toHaveLength(43)
  expect(await loadOrCreateSecrets(dataDir)).toEqual(made)
  expect((await stat(path.join(dataDir, 'secrets.json'))).mode & 0o777).toBe(0o600)
  expect(await readdir(dataDir)).toEqual(['secrets.json'])
})

test('two starts at the same time get the same keys', async () => {
  const [one, other] = await Promise.all([loadOrCreateSecrets(folder), loadOrCreateSecrets(folder)])
  expect(one).toEqual(other)
})

test('a file that others may read is closed to them', async () => {
  await loadOrCreateSecrets(folder)
  await chmod(path.join(folder, 'secrets.json'), 0o644)
  await loadOrCreateSecrets(folder)
  expect((await stat(path.join(folder, 'secrets.json'))).mode & 0o777).toBe(0o600)
})

test.each(['', '{}', '{"adminKey":"a"}', 'null'])(
  'a damaged file (%j) is never replaced',
  async (content) => {
    await writeFile(path.join(folder, 'secrets.json'), content)
    await expect(loadOrCreateSecrets(folder)).rejects.toThrow(SecretsFileError)
  },
)

test('a folder that cannot be is named', async () => {
  await writeFile(path.join(folder, 'file'), '')
  await expect(loadOrCreateSecrets(path.join(folder, 'file'))).rejects.toThrow(
    `${path.join(folder, 'file', 'secrets.json')} cannot be`,
  )
})
