/** A disk of some MB that a test can fill to its last octet: a tmpfs of its own, for which Linux wants root. */
import { execFileSync } from 'node:child_process'
import { closeSync, mkdtempSync, openSync, rmdirSync, rmSync, writeSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'

export type SmallDisk = {
  folder: string
  /** Nobody can store another octet here. What others remove makes room again. */
  fill: () => void
  makeRoom: () => void
  remove: () => void
}

/** Ask `needsMounts` first. */
export function mountSmallDisk(sizeMb: number): SmallDisk {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'valija-disk-'))
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${sizeMb}m`, 'valija-test', folder])
  const ballast = path.join(folder, 'ballast')
  return {
    folder,
    fill: () => {
      const file = openSync(ballast, 'a')
      for (let octets = 1 << 20; octets > 0; ) {
        try {
          writeSync(file, Buffer.alloc(octets))
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error
          octets = Math.floor(octets / 16)
        }
      }
      closeSync(file)
    },
    makeRoom: () => rmSync(ballast, { force: true }),
    remove: () => {
      execFileSync('umount', ['--lazy', folder])
      rmdirSync(folder)
    },
  }
}
