/** Room on the disks of this machine that we or our PostgreSQL write to. */
import { stat, statfs } from 'node:fs/promises'
import { type Check, checkOf, messageOf, sizeText } from './check.ts'

export interface DiskFacts {
  freeBytes: number
  totalBytes: number
  /** Files that can still be made; null where the file system has no bound. */
  freeFiles: number | null
}

/** @throws when the folder is not there, or may not be looked at */
export async function readDiskFacts(folder: string): Promise<DiskFacts> {
  const { bavail, blocks, bsize, ffree, files } = await statfs(folder)
  return { freeBytes: bavail * bsize, totalBytes: blocks * bsize, freeFiles: files > 0 ? ffree : null }
}

const gibibyte = 2 ** 30
/** PostgreSQL stops when its disk is full, and a day of 10 KB mails at 100 a second takes a hundred of these. */
const leastBytes = { failed: gibibyte, warning: 5 * gibibyte }
const leastShare = 0.05
const leastFiles = 10_000

export function judgeDisk(folder: string, { freeBytes, totalBytes, freeFiles }: DiskFacts): Check {
  const check = checkOf('disk', folder)
  const seen = `${sizeText(freeBytes)} of ${sizeText(totalBytes)} are free`
  const fix =
    'Make room or enlarge the disk; shorter VALIJA_RETENTION_CONTENT and VALIJA_RETENTION_EVENTS let old days go sooner.'
  if (freeBytes < leastBytes.failed) return check.failed(`only ${seen}`, fix)
  if (freeBytes < leastBytes.warning || freeBytes < leastShare * totalBytes) {
    return check.warning(`only ${seen}`, fix)
  }
  if (freeFiles !== null && freeFiles < leastFiles) {
    return check.warning(
      `only ${freeFiles} files can still be made`,
      'Remove files that nobody needs: the file system is out of inodes.',
    )
  }
  return check.ok(seen)
}

/** @param folders on this machine that hold what must not be lost; one that may not be looked at is told as skipped */
export async function examineDisks(folders: readonly string[]): Promise<Check[]> {
  if (folders.length === 0) {
    return [checkOf('disk').skipped('nothing is kept on this machine: watch the disk of PostgreSQL')]
  }
  return Promise.all(
    (await onePerDisk(folders)).map((folder) =>
      readDiskFacts(folder).then(
        (facts) => judgeDisk(folder, facts),
        (error) => checkOf('disk', folder).skipped(`cannot be looked at: ${messageOf(error)}`),
      ),
    ),
  )
}

/** The first folder of each file system; what cannot be looked at is one of its own. */
async function onePerDisk(folders: readonly string[]): Promise<string[]> {
  const devices = await Promise.all(
    folders.map((folder) =>
      stat(folder).then(
        ({ dev }) => dev,
        () => folder,
      ),
    ),
  )
  return folders.filter((_, at) => devices.indexOf(devices[at] ?? '') === at)
}
