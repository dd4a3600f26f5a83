/**
 * The lock check: package-lock.json holds every package for every platform. npm drops an optional platform package
 * that its registry did not have at the time from the lock without a word, and `npm ci` refuses that lock later, on a
 * machine of that platform. A dry run finds it here; nothing is installed and no script runs.
 */
import { spawnSync } from 'node:child_process'
import { repositoryRoot } from './source-tree.ts'
import { report } from './step.ts'

/** The complaints in the output of `npm ci --dry-run`: packages that the lock lacks or has in another version. */
export function lockComplaints(output: string): string[] {
  return output.match(/(Missing|Invalid): .*(from lock file|does not satisfy).*/g) ?? []
}

function dryRun(): { status: number | null; output: string } {
  const options = { cwd: repositoryRoot, encoding: 'utf8', shell: process.platform === 'win32' } as const
  const { status, stdout, stderr, error } = spawnSync('npm', ['ci', '--dry-run', '--ignore-scripts'], options)
  if (error) throw error
  return { status, output: `${stdout}\n${stderr}` }
}

if (import.meta.main) {
  const { status, output } = dryRun()
  const complaints = lockComplaints(output)
  // Some other failure (no network, a damaged file) must not pass for a complete lock.
  if (status !== 0 && complaints.length === 0) complaints.push(`npm ci --dry-run failed:\n${output.trim()}`)
  report(
    'lock',
    complaints.map((message) => ({ path: 'package-lock.json', line: 1, message })),
  )
}
