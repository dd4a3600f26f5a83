import { expect, test } from 'vitest'
import { drawBars } from './charts.ts'

const lines = [
  {
    label: 'a & b',
    bars: [
      { name: 'api', value: 1 },
      { name: 'worker', value: 3 },
    ],
  },
  { label: 'c', bars: [{ name: 'api', value: 2 }] },
]
const widths = (svg: string) =>
  [...svg.matchAll(/width="([\d.]+)" height="14"/g)].map(([, width]) => Number(width))

test('bars are as long as their values, and the longest fills the room', () => {
  const [one = 0, three = 0, two = 0] = widths(drawBars({ title: 'T', unit: 'ms', lines }))
  expect([three / one, two / one]).toEqual([expect.closeTo(3, 2), expect.closeTo(2, 2)])
})

test('what is stacked shows its sum, and text is escaped', () => {
  const svg = drawBars({ title: 'T', unit: 'ms', lines, isStacked: true, digits: 1 })
  expect(svg).toContain('>4.0<')
  expect(svg).toContain('>a &amp; b<')
})

test('a chart in which all is nothing can be drawn', () => {
  expect(
    drawBars({ title: 'T', unit: 'ms', lines: [{ label: 'x', bars: [{ name: 'y', value: 0 }] }] }),
  ).not.toContain('NaN')
})
