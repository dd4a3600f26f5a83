/** Tables and lists of fields for people. */

export type Cell = string | number | boolean | null | undefined

/**
 * Columns that are aligned. The last one is as long as it is; on a terminal lines end at its width.
 *
 * @param width in columns; Infinity where nobody looks at it in a window
 */
export function textTable(
  head: readonly string[],
  rows: readonly (readonly Cell[])[],
  width: number,
): string {
  const lines = [head, ...rows.map((row) => row.map(cellText))]
  const widths = head.map((_, column) => Math.max(...lines.map((line) => (line[column] ?? '').length)))
  return lines
    .map((line) => line.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  '))
    .map((line) => `${cut(line.trimEnd(), width)}\n`)
    .join('')
}

/** `name  value`, one a line. */
export function textFields(fields: readonly (readonly [string, Cell])[], width: number): string {
  const margin = Math.max(...fields.map(([name]) => name.length))
  return fields
    .map(([name, value]) => `${cut(`${name.padEnd(margin)}  ${cellText(value)}`, width)}\n`)
    .join('')
}

/** Control characters, such as those of a hostile server's reply, do not reach the terminal. */
function cellText(value: Cell): string {
  if (value === null || value === undefined || value === '') return '-'
  if (typeof value === 'boolean') return value ? 'yes' : 'no'
  return String(value).replace(/\p{Cc}+/gu, ' ')
}

function cut(line: string, width: number): string {
  return line.length <= width ? line : `${line.slice(0, Math.max(1, width - 1))}…`
}
