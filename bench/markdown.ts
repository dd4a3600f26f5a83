/** Tables in Markdown. */

export function table(columns: string[], rows: string[][]): string {
  return [columns, columns.map(() => '---'), ...rows].map((row) => `| ${row.join(' | ')} |`).join('\n')
}
