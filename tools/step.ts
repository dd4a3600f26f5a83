/**
 * How a step of `npm run check` ends when it is run alone: its findings on standard output as `path:line message`
 * (editors turn that into a link), one closing line, and exit code 1 when there was a finding.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { type Finding, repositoryRoot } from './source-tree.ts'

/** Prints the findings of the step called `name` and sets the exit code. `notes` are printed and fail nothing. */
export function report(name: string, findings: readonly Finding[], notes: readonly Finding[] = []): void {
  for (const note of notes) process.stdout.write(`note: ${note.path}:${note.line} ${note.message}\n`)
  for (const finding of findings) process.stdout.write(`${finding.path}:${finding.line} ${finding.message}\n`)
  process.stdout.write(findings.length === 0 ? `${name}: ok\n` : `${name}: ${findings.length} broken\n`)
  if (findings.length > 0) process.exitCode = 1
}

/**
 * Settles a generated file: writes it, or with `--check` on the command line compares it with what is on disk and
 * fails when they differ. Both ways go through here, so that what is compared is what would be written.
 *
 * @param path from the repository's root
 * @param command what a developer runs to bring the file up to date; named in the failure
 */
export function settleGenerated(path: string, content: string, command: string): void {
  const file = join(repositoryRoot, path)
  if (!process.argv.includes('--check')) {
    mkdirSync(dirname(file), { recursive: true })
    writeFileSync(file, content)
    process.stdout.write(`${path}: written\n`)
    return
  }
  const line = firstDifference(readOrNothing(file), content)
  report(path, line === undefined ? [] : [{ path, line, message: `is stale: run \`${command}\`` }])
}

/** The number of the first line (from 1) in which two texts differ; undefined when they are equal. */
export function firstDifference(left: string, right: string): number | undefined {
  if (left === right) return undefined
  const rightLines = right.split('\n')
  const index = left.split('\n').findIndex((line, at) => line !== rightLines[at])
  return (index === -1 ? left.split('\n').length : index) + 1
}

function readOrNothing(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    // A generated file that is not there yet is stale from its first line; anything else is a real fault.
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return ''
    throw error
  }
}
