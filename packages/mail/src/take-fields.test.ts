import fc from 'fast-check'
import { expect, test } from 'vitest'
import { takeFields } from './take-fields.ts'

const isOurs = (name: string) => name.startsWith('x-ours-')
const takeFrom = (input: Buffer, isTaken: (name: string) => boolean) => {
  const result = takeFields(input, isTaken)
  if (!result.ok) throw new Error(result.message)
  return result.value
}
const take = (text: string) => {
  const { taken, rest } = takeFrom(Buffer.from(text), isOurs)
  return { taken: taken.map(({ name, value }) => `${name}=${value}`), rest: rest.toString() }
}

test('fields are taken wherever they stand in the header, with their folded lines, and every other octet stays', () => {
  const text =
    'X-Ours-A: 1\r\nFrom: a@b.test\r\nx-OURS-b:\r\n  2\r\n\t3 \r\nSubject: X-Ours-C: no\r\nX-Ours-D: 4\r\n\r\nX-Ours-E: body\r\n'
  expect(take(text)).toEqual({
    taken: ['x-ours-a=1', 'x-ours-b=2\t3', 'x-ours-d=4'],
    rest: 'From: a@b.test\r\nSubject: X-Ours-C: no\r\n\r\nX-Ours-E: body\r\n',
  })
})

test.each([
  [
    'lines that end in LF alone',
    'X-Ours-A: 1\nFrom: a@b.test\n\nX-Ours-B: 2\n',
    ['x-ours-a=1'],
    'From: a@b.test\n\nX-Ours-B: 2\n',
  ],
  ['a header without a body', 'From: a@b.test\r\nX-Ours-A: 1', ['x-ours-a=1'], 'From: a@b.test\r\n'],
  ['a space before the colon', 'X-Ours-A : 1\r\n\r\n', ['x-ours-a=1'], '\r\n'],
  [
    'encoded words',
    'X-Ours-A: =?UTF-8?Q?Gr=C3=BC?=\r\n =?UTF-8?B?w59l?=\r\n\r\n',
    ['x-ours-a=Grüße'],
    '\r\n',
  ],
  ['UTF-8', 'X-Ours-A: Grüße\r\n\r\n', ['x-ours-a=Grüße'], '\r\n'],
  ['no header', '\r\nX-Ours-A: 1\r\n', [], '\r\nX-Ours-A: 1\r\n'],
  ['nothing', '', [], ''],
  ['a line that is no field', 'nonsense\r\nX-Ours-A: 1\r\n\r\n', ['x-ours-a=1'], 'nonsense\r\n\r\n'],
])('%s', (_what, text, taken, rest) => {
  expect(take(text)).toEqual({ taken, rest })
})

test('whatever comes in, what is not taken stays as it is, and nothing is left to be taken', () => {
  const line = fc.constantFrom(
    'X-Ours-A: 1',
    'From: a@b.test',
    ' folded',
    '\tx',
    '',
    'x',
    ':',
    'X-Ours-B:',
    'Subject: \r',
  )
  const ending = fc.constantFrom('\r\n', '\n', '\r', '')
  fc.assert(
    fc.property(fc.array(fc.tuple(line, ending), { maxLength: 12 }), (lines) => {
      const input = Buffer.from(lines.flat().join(''))
      const { taken, rest } = takeFrom(input, isOurs)
      if (taken.length === 0) expect(rest).toBe(input)
      else expect(rest.length).toBeLessThan(input.length)
      expect(takeFrom(input, () => false).rest).toBe(input)
    }),
  )
})

test.each([
  ['a header of 40 MiB of fields of ours', 'X-Ours-A:a\r\n', /more than 200 fields such as "x-ours-a"/],
  ['a header of 40 MiB of other fields', 'a:\n', /header is larger/],
  ['a field of 40 MiB', 'X-Ours-A', /header is larger/],
  ['a field of 40 MiB of folded lines', '\n ', /header is larger/],
])('%s is refused at once', (_what, unit, message) => {
  const input = Buffer.alloc(40 * 1024 * 1024, unit)
  input.write('X')
  const before = process.threadCpuUsage()
  const result = takeFields(input, isOurs)
  expect(result.ok ? 'taken' : result.message).toMatch(message)
  const { user, system } = process.threadCpuUsage(before)
  expect((user + system) / 1_000).toBeLessThan(1_000)
})
