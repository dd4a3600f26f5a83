/**
 * Charts as SVG, drawn from what was measured: lines of bars, one below the other, as long as their values. No script, no font of
 * its own, and its own white background, so that it can be read wherever it is shown.
 */

export interface BarChart {
  title: string
  /** What values are in. */
  unit: string
  lines: { label: string; bars: { name: string; value: number }[] }[]
  /** The bars of a line stand in a row, and their sum is shown; else below each other. */
  isStacked?: boolean
  digits?: number
}

const size = { width: 1040, label: 400, value: 90, bar: 16, gap: 10, head: 58, foot: 12 }
const colours = ['#2f5d8a', '#d9822b', '#4f8f4f', '#a23b52', '#7a62a8', '#7f7f7f', '#20808d', '#b59b2c']

export function drawBars({ title, unit, lines, isStacked = false, digits = 0 }: BarChart): string {
  const names = [...new Set(lines.flatMap(({ bars }) => bars.map(({ name }) => name)))]
  const colourOf = (name: string) => colours[names.indexOf(name) % colours.length] ?? '#000'
  const lengths = lines.map(({ bars }) => bars.map(({ value }) => value))
  const longest = Math.max(...lengths.map((values) => (isStacked ? sum(values) : Math.max(0, ...values))))
  const scale = (size.width - size.label - size.value) / (longest > 0 ? longest : 1)
  const parts: string[] = []
  let y = size.head
  for (const { label, bars } of lines) {
    const rows = isStacked ? [bars] : bars.map((bar) => [bar])
    const middle = y + (rows.length * size.bar) / 2 + 4
    parts.push(text(size.label - 8, middle, label, 'end'))
    for (const row of rows) {
      let x = size.label
      for (const { name, value } of row) {
        const width = value * scale
        parts.push(rectangle(x, y, width, size.bar - 2, colourOf(name)))
        x += width
      }
      parts.push(text(x + 6, y + size.bar - 5, sum(row.map(({ value }) => value)).toFixed(digits), 'start'))
      y += size.bar
    }
    y += size.gap
  }
  const height = y + size.foot
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${size.width} ${height}" width="${size.width}" height="${height}" role="img" font-family="sans-serif" font-size="12" fill="#222">`,
    `<title>${escaped(`${title}, ${unit}`)}</title>`,
    `<rect width="100%" height="100%" fill="#fff"/>`,
    `<text x="12" y="22" font-size="15" font-weight="bold">${escaped(title)}</text>`,
    ...legend([...(names.length > 1 ? names : [])], unit, colourOf),
    ...parts,
    '</svg>',
    '',
  ].join('\n')
}

function legend(names: string[], unit: string, colourOf: (name: string) => string): string[] {
  let x = 12
  const parts = [text(x, 44, unit, 'start')]
  x += unit.length * 7 + 20
  for (const name of names) {
    parts.push(rectangle(x, 34, 12, 12, colourOf(name)), text(x + 17, 44, name, 'start'))
    x += name.length * 7 + 36
  }
  return parts
}

function rectangle(x: number, y: number, width: number, height: number, fill: string): string {
  return `<rect x="${x.toFixed(1)}" y="${y}" width="${width.toFixed(1)}" height="${height}" fill="${fill}"/>`
}

function text(x: number, y: number, content: string, anchor: 'start' | 'end'): string {
  return `<text x="${x.toFixed(1)}" y="${y}" text-anchor="${anchor}">${escaped(content)}</text>`
}

function escaped(content: string): string {
  return content.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
}

function sum(values: number[]): number {
  return values.reduce((total, value) => total + value, 0)
}
