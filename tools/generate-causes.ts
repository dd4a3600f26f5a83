/**
 * Writes docs/causes.md, what `explain` can name as a cause, from @valija/core; with `--check` it fails when the page is stale.
 */
import { settleGenerated } from './step.ts'

const introduction = `# Causes

<!-- Generated from packages/core/src/explanation/cause-kinds.ts by tools/generate-causes.ts. Do not edit. -->

What \`GET /messages/:id/explain\` and \`npm run valija -- explain <message id>\` can name as a \`kind\` in \`because\`. The most likely true cause
stands first, and \`remedy\` cures that one; those behind it are what else keeps the mail, what demanded it, and how it was read. \`detail\` says
the same with hosts, replies, numbers and times. A kind's name never changes; new ones may come. The [reasons](reasons.md) of failures are
kinds too, under their own names.
`

/** @param meanings by kind, in the order to be shown; those of reasons are linked instead */
export function causesPage(meanings: Readonly<Record<string, string>>, reasons: readonly string[]): string {
  const rows = Object.entries(meanings).filter(([kind]) => !reasons.includes(kind))
  const table = rows.map(([kind, meaning]) => `| \`${kind}\` | ${meaning} |`)
  const links = reasons.map((reason) => `[\`${reason}\`](reasons.md#${reason})`).join(', ')
  return [
    introduction,
    ['| Kind | Meaning |', '|---|---|', ...table].join('\n'),
    '',
    `Reasons: ${links}.`,
    '',
  ].join('\n')
}

if (import.meta.main) {
  const core = await import('@valija/core')
  settleGenerated(
    'docs/causes.md',
    causesPage(core.causeMeanings, core.reasons),
    'node tools/generate-causes.ts',
  )
}
