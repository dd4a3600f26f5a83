/**
 * `valija eval-bounces <folder>`: how far our reading of bounces agrees with expectations, per field and per reason, and the misses.
 *
 * The folder holds `mail/*.eml` and `expected.json`: file → one entry per recipient, in Sisimai's words; an empty list for a mail
 * that is no bounce. Reads files only: no database, no network.
 */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createBounceJudge, loadBounceRules } from '@valija/core'
import { readIncoming } from '@valija/mail'
import { compareMail, type ExpectedRecipient, type Miss, summarize } from './compare-bounces.ts'

export async function evalBounces(folder: string, { json }: { json: boolean }): Promise<void> {
  const expected = await readExpected(join(folder, 'expected.json'))
  const judge = createBounceJudge(loadBounceRules())
  const outcomes = []
  for (const [file, recipients] of expected) {
    const mail = await readIncoming(await readFile(join(folder, 'mail', file)))
    outcomes.push(compareMail(file, recipients, mail, judge))
  }
  const { summary, byReason } = summarize(outcomes)
  const misses = outcomes.flatMap((outcome) => outcome.misses)
  process.stdout.write(json ? `${JSON.stringify({ summary, misses })}\n` : toText(summary, byReason, misses))
}

async function readExpected(path: string): Promise<[string, ExpectedRecipient[]][]> {
  const content: unknown = JSON.parse(await readFile(path, 'utf8'))
  if (typeof content !== 'object' || content === null || Array.isArray(content)) {
    throw new Error(`${path} must hold an object: file name → list of recipients`)
  }
  return Object.entries(content).map(([file, entries]) => {
    if (!Array.isArray(entries)) throw new Error(`${path}: ${file} must have a list of recipients`)
    return [file, entries.map((entry) => readEntry(entry, `${path}: ${file}`))]
  })
}

function readEntry(entry: unknown, place: string): ExpectedRecipient {
  if (typeof entry !== 'object' || entry === null) throw new Error(`${place} has an entry that is no object`)
  const { reason, hard, recipient } = entry as Record<string, unknown>
  if (typeof reason !== 'string') throw new Error(`${place} has an entry without "reason"`)
  return { reason, hard: hard === true, recipient: typeof recipient === 'string' ? recipient : null }
}

type Summary = ReturnType<typeof summarize>['summary']
type ByReason = ReturnType<typeof summarize>['byReason']

function toText(summary: Summary, byReason: ByReason, misses: readonly Miss[]): string {
  const percent = (share: number) => `${(share * 100).toFixed(1)} %`
  const lines = [
    `${summary.mails} mails`,
    `  recipient   ${percent(summary.recipient)}`,
    `  hard/soft   ${percent(summary.hard)}`,
    `  reason      ${percent(summary.reason)}`,
    `  suppressions from mails that are no bounces: ${summary.false_suppressions}`,
    '',
    ...[...byReason]
      .toSorted(([a], [b]) => a.localeCompare(b))
      .map(([reason, { right, all }]) => `  ${reason.padEnd(16)} ${right} of ${all}`),
    '',
    ...misses.map(
      ({ file, recipient, field, expected, got, text }) =>
        `${file} ${recipient ?? '-'}: ${field} should be ${expected}, is ${got}${text === '' ? '' : ` — ${text}`}`,
    ),
  ]
  return `${lines.join('\n')}\n`
}
