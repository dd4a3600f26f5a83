/** The file of variables, as the command line reads it; `migrate` says which variables it was given. */
import { spawnSync } from 'node:child_process'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, expect, test } from 'vitest'

const program = fileURLToPath(new URL('./main.ts', import.meta.url))

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), 'valija-env-file-'))
})
afterEach(() => rm(folder, { recursive: true, force: true }))

/** @returns what `valija migrate` says when it is run in the folder */
function migrate(env: Record<string, string> = {}): string {
  const { status, stderr } = spawnSync(process.execPath, [program, 'migrate'], {
    ...{ cwd: folder, encoding: 'utf8' },
    env: { DATABASE_URL: '', LOG_LEVEL: 'loud', ...env },
  })
  expect(status).toBe(1)
  return stderr
}
const writeEnv = (text: string, name = '.env') => writeFile(path.join(folder, name), text)

test('.env of the working folder is read, and what is set already goes before it, also when it is set to nothing', async () => {
  await writeEnv(
    '# ours\n\nDATABASE_URL=x\nLOG_LEVEL=louder\nexport VALIJA_SMARTHOST_URL="pigeon\n  loft"\nPORT = none\n',
  )
  const said = migrate()
  expect(said).toContain('PORT: expected a whole number from 1 to 65535 (it is "none")')
  expect(said).toContain('(it is "loud")')
  expect(said).toContain('DATABASE_URL: is required by valija migrate')
  expect(said).toContain('VALIJA_SMARTHOST_URL: ')
})

test('another file by VALIJA_ENV_FILE, which has to be there', async () => {
  await writeEnv('PORT=none')
  await writeEnv('VALIJA_MX_PORT=none', 'other')
  const said = migrate({ VALIJA_ENV_FILE: 'other' })
  expect(said).toContain('VALIJA_MX_PORT: ')
  expect(said).not.toContain(' PORT: ')
  expect(migrate({ VALIJA_ENV_FILE: 'nowhere' })).toBe(
    'valija: the file of variables nowhere cannot be read: ENOENT\n',
  )
})

test('a file that cannot be understood is one sentence, which shows nothing of it', async () => {
  await writeEnv('A="one\ntwo"\nVALIJA_ADMIN_KEY: hush\n')
  expect(migrate()).toBe('valija: line 3 of .env is not of the form NAME=value\n')
  await rm(path.join(folder, '.env'))
  await mkdir(path.join(folder, '.env'))
  expect(migrate()).toBe('valija: the file of variables .env cannot be read: EISDIR\n')
})
