/** What `valija doctor` saw, for people. */
import type { Check } from '@valija/flows'

const marks: Record<Check['status'], string> = { ok: 'ok', warning: 'warn', failed: 'FAIL', skipped: 'skip' }

/** A line for each, and one with the remedy below it where something is wrong. */
export function checkLines(checks: readonly Check[]): string[] {
  const titles = checks.map(({ name, subject }) => [name, subject].filter((part) => part !== null).join(' '))
  const width = Math.min(36, Math.max(...titles.map((title) => title.length)))
  return checks.flatMap(({ status, detail, fix }, at) => {
    const head = `${marks[status].padEnd(4)}  ${(titles[at] ?? '').padEnd(width)}  ${detail}`
    return fix === null ? [head] : [head, `${' '.repeat(width + 8)}→ ${fix}`]
  })
}

/** How many there are of each kind. */
export function checkSum(checks: readonly Check[]): string {
  const count = (status: Check['status']) => checks.filter((check) => check.status === status).length
  return `${count('failed')} failed, ${count('warning')} to look at, ${count('ok')} ok, ${count('skipped')} skipped`
}
