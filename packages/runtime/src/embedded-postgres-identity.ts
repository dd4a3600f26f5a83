/**
 * As whom PostgreSQL runs. It refuses to be root, so when we are:
 *
 *   1. as the owner of the data folder, or else as uid 65534 (nobody), which owns nothing else;
 *   2. where we may not change users or give files away (a container without those rights, a shared folder of a virtual
 *      machine): in a user namespace in which our own user has another number. Needs `unshare` of util-linux.
 */
import { execFile } from 'node:child_process'
import { chown, mkdtemp, rmdir, stat } from 'node:fs/promises'
import path from 'node:path'
import { promisify } from 'node:util'
import { EmbeddedPostgresError } from './embedded-postgres-error.ts'

const run = promisify(execFile)

/** uid and gid of "nobody" on Linux and in containers. */
const NOBODY = 65534

export type Identity =
  | { as: 'ourselves' }
  | { as: 'user'; uid: number; gid: number }
  /** Ourselves by another number: files stay ours, and nothing needs to be given away. */
  | { as: 'namespace' }

/** For spawn and execFile: a program as that identity. The process id is the program's own in every case. */
export function command(identity: Identity, program: string, args: string[]) {
  if (identity.as === 'user')
    return { file: program, args, options: { uid: identity.uid, gid: identity.gid } }
  if (identity.as === 'ourselves') return { file: program, args, options: {} }
  const mapping = ['--user', `--map-user=${NOBODY}`, `--map-group=${NOBODY}`, '--']
  return { file: 'unshare', args: [...mapping, program, ...args], options: {} }
}

/** Makes the file or folder the identity's own. */
export async function giveTo(identity: Identity, file: string): Promise<void> {
  if (identity.as === 'user') await chown(file, identity.uid, identity.gid)
}

/** Can files below the parent be given to the user, and a program be run as that user? */
async function isPossible(identity: Identity, parent: string): Promise<boolean> {
  try {
    const probe = await mkdtemp(path.join(parent, '.valija-probe-'))
    await giveTo(identity, probe).finally(() => rmdir(probe))
    const { file, args, options } = command(identity, '/bin/sh', ['-c', ':'])
    await run(file, args, { ...options, cwd: '/', env: { PATH: '/usr/bin:/bin' } })
    return true
  } catch (error) {
    // A folder that cannot be written to is not a question of identity: the first write to it names it.
    return (
      ['EACCES', 'EROFS', 'ENOSPC'].includes(String((error as NodeJS.ErrnoException).code)) &&
      identity.as === 'user'
    )
  }
}

/**
 * The identity for a cluster in this folder, whose parent exists.
 * Throws EmbeddedPostgresError when we are root and there is none.
 */
export async function identityFor(dataDir: string): Promise<Identity> {
  if (process.getuid?.() !== 0) return { as: 'ourselves' }
  const owner = await stat(path.join(dataDir, 'PG_VERSION')).catch(() => null)
  // A cluster of root's own can only come from a namespace: an earlier start found no other way.
  if (owner?.uid !== 0) {
    const user: Identity = { as: 'user', uid: owner?.uid ?? NOBODY, gid: owner?.gid ?? NOBODY }
    if (await isPossible(user, path.dirname(dataDir))) return user
  }
  if (await isPossible({ as: 'namespace' }, path.dirname(dataDir))) return { as: 'namespace' }
  throw new EmbeddedPostgresError(
    'PostgreSQL does not run as root, and this system allows us neither to run it as another user nor to make a user ' +
      'namespace for it: start as another user, or set DATABASE_URL to a PostgreSQL of your own.',
  )
}
