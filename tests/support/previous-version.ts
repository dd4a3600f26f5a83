/**
 * The previous version's processes, from the sources in tests/previous-version (tools/pack-previous-version.ts says how they got there).
 *
 * They run on our node_modules: the archive is unpacked into a temporary folder whose node_modules has a link to each of our dependencies,
 * and to its own packages where ours would be. Its Prisma client is generated there.
 */
import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, readdir, readFile, rm, symlink } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'
import { brotliDecompressSync } from 'node:zlib'
import { createEmptyDatabase, type TestDatabase } from './database.ts'
import { REPOSITORY, type Running, startNode } from './processes.ts'

const run = promisify(execFile)
const archives = path.join(REPOSITORY, 'tests/previous-version')

export type PreviousVersion = {
  /** The commit it was made from. */
  commit: string
  /** The names of its migrations. */
  migrations: string[]
  /** As `startApp`, of that version. */
  startApp: (command: string, env: Record<string, string>) => Running
  /** A database with that version's schema. */
  createDatabase: () => Promise<TestDatabase>
  remove: () => Promise<void>
}

async function unpack(folder: string): Promise<string> {
  const [name, ...more] = (await readdir(archives)).filter((file) => file.endsWith('.tar.br'))
  if (name === undefined || more.length > 0) throw new Error(`there must be one archive in ${archives}`)
  const tar = brotliDecompressSync(await readFile(path.join(archives, name)))
  const unpacking = run('tar', ['-xf', '-', '-C', folder])
  unpacking.child.stdin?.end(tar)
  await unpacking
  return name.replace('.tar.br', '')
}

/** Links are resolved to where they lead, so its files find its packages, and a dependency's own files theirs. */
async function linkDependencies(folder: string): Promise<void> {
  const ours = path.join(REPOSITORY, 'node_modules')
  const own = path.join(folder, 'node_modules')
  await mkdir(path.join(own, '@valija'), { recursive: true })
  const names = (await readdir(ours)).filter((name) => name !== '@valija')
  await Promise.all(names.map((name) => symlink(path.join(ours, name), path.join(own, name))))
  for (const kind of ['packages', 'apps']) {
    for (const name of await readdir(path.join(folder, kind))) {
      await symlink(path.join(folder, kind, name), path.join(own, '@valija', name))
    }
  }
}

/** Unpacks it and makes it able to run, which takes some seconds. */
export async function unpackPreviousVersion(): Promise<PreviousVersion> {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'valija-previous-'))
  const remove = () => rm(folder, { recursive: true, force: true })
  try {
    const commit = await unpack(folder)
    await linkDependencies(folder)
    await run(process.execPath, [path.join(folder, 'tools/prisma.mjs'), 'generate', '--no-hints'])
    const entries = await readdir(path.join(folder, 'prisma/migrations'), { withFileTypes: true })
    const migrations = entries.filter((entry) => entry.isDirectory()).map(({ name }) => name)
    // What is compiled goes with the folder.
    const compiled = { NODE_COMPILE_CACHE: path.join(folder, 'compiled') }
    const startApp = (command: string, env: Record<string, string>) =>
      startNode(path.join(folder, 'apps/cli/src/main.ts'), [command], {
        env: { ...compiled, ...env },
        cwd: folder,
      })
    const createDatabase = async () => {
      const database = await createEmptyDatabase()
      const { code } = await startApp('migrate', { DATABASE_URL: database.url }).ended
      if (code !== 0) throw new Error(`the previous version's migrate ended with ${code}`)
      return database
    }
    return { commit, migrations: migrations.toSorted(), startApp, createDatabase, remove }
  } catch (error) {
    await remove()
    throw error
  }
}
