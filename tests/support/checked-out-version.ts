/** Which version of the sources is measured or tortured, for the report of it. */
import { spawnSync } from 'node:child_process'

/** The commit, with `-dirty` where files differ from it; `unknown` outside of a working copy. */
export function checkedOutVersion(): string {
  const { stdout } = spawnSync('git', ['describe', '--always', '--dirty'], {
    cwd: import.meta.dirname,
    encoding: 'utf8',
  })
  return stdout?.trim() || 'unknown'
}
