import { expect, test } from 'vitest'
import { textFields, textTable } from './text-table.ts'

const rows = [
  ['dom_1', 'acme.test', 250],
  ['dom_22', null, true],
]

test('columns are aligned, nothing is a dash, and nothing is wrapped or cut where there is no terminal', () => {
  expect(textTable(['id', 'name', 'value'], rows, Number.POSITIVE_INFINITY)).toBe(
    ['id      name       value', 'dom_1   acme.test  250', 'dom_22  -          yes', ''].join('\n'),
  )
  const long = 'x'.repeat(500)
  expect(textTable(['id'], [[long]], Number.POSITIVE_INFINITY)).toBe(`id\n${long}\n`)
  expect(textTable(['id', 'name'], [], Number.POSITIVE_INFINITY)).toBe('id  name\n')
})

test('on a terminal a line ends at its width', () => {
  expect(textTable(['id', 'name'], [['dom_1', 'acme.example']], 12)).toBe('id     name\ndom_1  acme…\n')
})

test('control characters of a hostile reply do not reach the terminal', () => {
  expect(textTable(['reply'], [['550 \u001b[2J\r\ngone\u009b']], Number.POSITIVE_INFINITY)).toBe(
    'reply\n550  [2J gone \n'.replace(' \n', '\n'),
  )
  expect(textFields([['reply', '5\u00070']], Number.POSITIVE_INFINITY)).toBe('reply  5 0\n')
})

test('fields are aligned', () => {
  expect(
    textFields(
      [
        ['id', 'x'],
        ['status', ''],
      ],
      Number.POSITIVE_INFINITY,
    ),
  ).toBe('id      x\nstatus  -\n')
})
