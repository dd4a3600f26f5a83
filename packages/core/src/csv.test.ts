import fc from 'fast-check'
import { expect, it } from 'vitest'
import { CsvReader, type CsvRow, unguardCell, writeCsvLine } from './csv.ts'

function read(...pieces: string[]): CsvRow[] {
  const reader = new CsvReader()
  return [...pieces.flatMap((piece) => [...reader.read(piece)]), ...reader.end()]
}
const cellsOf = (...pieces: string[]) =>
  read(...pieces).map((row) => ('cells' in row ? row.cells : row.fault))

it('what is written comes back, wherever it is cut', () => {
  const cell = fc.string({ maxLength: 20, unit: fc.constantFrom(...'ab@=+-\'"\t,; \r\n', 'é', '😀') })
  const table = fc.array(fc.array(cell, { minLength: 2, maxLength: 4 }), { minLength: 1, maxLength: 5 })
  fc.assert(
    fc.property(table, fc.array(fc.nat(200), { maxLength: 4 }), (rows, cuts) => {
      const isBlank = (text: string) => text.trim() === '' && !/^[\t\r]/.test(text)
      const kept = rows.filter((row) => !row.every(isBlank))
      const text = ['a,b\r\n', ...rows.map(writeCsvLine)].join('')
      const places = [0, ...cuts.map((cut) => cut % (text.length + 1)), text.length].sort((a, b) => a - b)
      const pieces = places.slice(1).map((place, i) => text.slice(places[i], place))
      const [, ...back] = read(...pieces)
      expect(back.map((row) => ('cells' in row ? row.cells.map(unguardCell) : row.fault))).toEqual(kept)
    }),
    { numRuns: 300 },
  )
})

it.each([
  ['=1+1@a.test', "'=1+1@a.test"],
  ['+a@a.test', "'+a@a.test"],
  ['-a@a.test', "'-a@a.test"],
  ['@a', "'@a"],
  ['\ta', '"\'\ta"'],
  ["'=x", "''=x"],
  ['a"b', '"a""b"'],
  ['550 no, not here', '"550 no, not here"'],
  ['ann@a.test', 'ann@a.test'],
])('no spreadsheet takes %j for a formula', (text, written) => {
  expect(writeCsvLine([text])).toBe(`${written}\r\n`)
  expect(unguardCell(text === '\ta' ? "'\ta" : written.replace(/^"|"$/g, '').replaceAll('""', '"'))).toBe(
    text,
  )
})

it('an empty cell is nothing', () => {
  expect(writeCsvLine(['a', null, ''])).toBe('a,,\r\n')
})

it.each([
  ['CRLF', 'a,b\r\n1,2\r\n'],
  ['LF', 'a,b\n1,2\n'],
  ['CR', 'a,b\r1,2\r'],
  ['no last line end', 'a,b\n1,2'],
  ['semicolons', 'a;b\n1;2'],
  ['tabs', 'a\tb\n1\t2'],
  ['empty lines', '\n\na,b\n\n \n1,2\n\n'],
  ['quotes', '"a","b"\n"1" ,"2"\n'],
])('takes %s', (_, text) => {
  const rows = cellsOf(text)
  expect(rows.slice(-2)).toEqual([
    ['a', 'b'],
    ['1', '2'],
  ])
})

it('tells on which line of the file a row begins, also behind cells of several lines', () => {
  expect(read('a,b\r\n"x\r\ny",1\r\nz,"2"3\n\nq,4').map((row) => row.line)).toEqual([1, 2, 4, 6])
  expect(read('a\n"x\n\ny"\nz').map((row) => row.line)).toEqual([1, 2, 5])
})

it('a row with a fault is told of once, and the next is read', () => {
  expect(cellsOf('a\n"x"y"z,1\nb\n')).toEqual([['a'], expect.stringContaining('closing quote'), ['b']])
  expect(cellsOf(`a\n${'x'.repeat(40_000)}\nb`)).toEqual([['a'], expect.stringContaining('16384'), ['b']])
})

it('a quote that is never closed ends the reading, in bounded memory, and says where it was', () => {
  for (const text of ['a\n1\n"x\n2\n3', `a\n1\n"${'x\n'.repeat(20_000)}"\n2`]) {
    expect(read(text)).toEqual([
      { line: 1, cells: ['a'] },
      { line: 2, cells: ['1'] },
      { line: 3, fault: expect.stringContaining('not closed') },
    ])
  }
})

it('takes time in proportion to the length', () => {
  const before = process.threadCpuUsage()
  const rows = read('a,b\n', 'x@a.test,"1"\n'.repeat(100_000))
  expect(rows).toHaveLength(100_001)
  const { user, system } = process.threadCpuUsage(before)
  expect((user + system) / 1_000).toBeLessThan(5_000)
})
