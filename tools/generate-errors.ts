/**
 * Writes docs/errors.md from the error catalogue of @valija/core; with `--check` it fails when the page is stale.
 * A code that is in the catalogue is on the page and the other way round, because the page has no other source.
 */
import { type CatalogueEntry, conflictTitles } from '@valija/core'
import { settleGenerated } from './step.ts'

const introduction = `# Errors

<!-- Generated from packages/core/src/errors.ts by tools/generate-errors.ts. Do not edit. -->

Every refusal is an RFC 9457 problem (\`application/problem+json\`) with a stable \`code\`; over SMTP it is the reply in
the same row. The wording of titles and fixes may change, a code never does. *Retry* says whether the same request can
succeed later without being changed; where a \`Retry-After\` header is present, wait for that long first.

The title of a \`conflict\` says what is in the way: ${Object.values(conflictTitles)
  .map((title) => `*${title}*`)
  .join(', ')}.
`

/** The whole page, codes in alphabetical order: a table to find one, then a section with a link target for each. */
export function errorsPage(catalogue: Readonly<Record<string, CatalogueEntry>>): string {
  const entries = Object.entries(catalogue).sort(([left], [right]) => (left < right ? -1 : 1))
  const rows = entries.map(([code, { status, smtp, title, isRetryable }]) =>
    tableRow([`[\`${code}\`](#${code})`, String(status), `\`${smtp}\``, title, isRetryable ? 'yes' : 'no']),
  )
  const table = [tableRow(['Code', 'HTTP', 'SMTP', 'Title', 'Retry']), '|---|---|---|---|---|', ...rows]
  const sections = entries.map(
    ([code, { status, smtp, title, fix, isRetryable }]) =>
      `## ${code}\n\n${title} (HTTP ${status}, SMTP \`${smtp}\`${isRetryable ? ', retry' : ''})\n\n${fix}\n`,
  )
  return [introduction, `${table.join('\n')}\n`, ...sections].join('\n')
}

function tableRow(cells: readonly string[]): string {
  return `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`
}

if (import.meta.main) {
  const core = await import('@valija/core')
  settleGenerated('docs/errors.md', errorsPage(core.errorCatalogue), 'node tools/generate-errors.ts')
}
