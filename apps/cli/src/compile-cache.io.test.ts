/** Where compiled code is kept, as a process says that was told to keep it. */
import { execFileSync } from 'node:child_process'
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'

let root: string
beforeEach(async () => {
  root = await mkdtemp(path.join(os.tmpdir(), 'valija-compiled-'))
})
afterEach(() => rm(root, { recursive: true, force: true }))

/** @returns the folder that a process keeps its compiled code in when it is told to take `folder`; empty: none */
function placeOf(folder: string, env: Record<string, string> = {}): string {
  const program = `
    import { getCompileCacheDir } from 'node:module'
    import { keepCompiled } from ${JSON.stringify(new URL('./compile-cache.ts', import.meta.url).href)}
    keepCompiled(${JSON.stringify(folder)})
    process.stdout.write(getCompileCacheDir() ?? '')`
  return execFileSync(process.execPath, ['--input-type=module', '--eval', program], { env, encoding: 'utf8' })
}

test('in the folder, which is made for its owner alone', async () => {
  const folder = path.join(root, 'cache', 'compiled')
  expect(path.dirname(placeOf(folder))).toBe(folder)
  expect(path.dirname(placeOf(folder))).toBe(folder)
})

test('not where others can put something, and not where nothing can be made: the process goes on without', async () => {
  const shared = path.join(root, 'shared')
  await mkdir(shared)
  await chmod(shared, 0o777)
  expect(placeOf(shared)).toBe('')
  await writeFile(path.join(root, 'file'), '')
  expect(placeOf(path.join(root, 'file', 'compiled'))).toBe('')
})

test('where Node’s own variables say, if they say anything', () => {
  const named = path.join(root, 'named')
  const folder = path.join(root, 'compiled')
  expect(path.dirname(placeOf(folder, { NODE_COMPILE_CACHE: named }))).toBe(named)
  expect(placeOf(folder, { NODE_DISABLE_COMPILE_CACHE: '1' })).toBe('')
})
