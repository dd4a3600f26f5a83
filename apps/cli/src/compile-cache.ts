/**
 * Keeps what Node compiles of this checkout, so that the next start finds it ready: without, compiling is half of a start.
 *
 * It is kept inside node_modules, where only who may change the program anyway can put anything: what is read from there is run.
 * Node files it by its own version, the user and the content of each source, so nothing has to be thrown away by hand.
 */
import { mkdirSync, statSync } from 'node:fs'
import { enableCompileCache } from 'node:module'
import { fileURLToPath } from 'node:url'

const ownFolder = fileURLToPath(new URL('../../../node_modules/.cache/valija-compile', import.meta.url))

/**
 * To be called before anything large is imported. Where the folder cannot be had, as in a read-only image, nothing is kept and
 * all goes on; NODE_COMPILE_CACHE and NODE_DISABLE_COMPILE_CACHE are stronger.
 */
export function keepCompiled(folder = ownFolder): void {
  if (isOursAlone(folder)) enableCompileCache(folder)
}

function isOursAlone(path: string): boolean {
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 })
    const { uid, mode } = statSync(path)
    return uid === process.getuid?.() && (mode & 0o022) === 0
  } catch {
    return false
  }
}
