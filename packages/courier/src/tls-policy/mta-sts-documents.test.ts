/** The examples of RFC 8461, and what its grammar refuses. */
import { describe, expect, test } from 'vitest'
import { isNamedByPolicy, readStsPolicy } from './mta-sts-documents.ts'

const policyOf = (...lines: string[]) => lines.map((line) => `${line}\r\n`).join('')
/** RFC 8461 §3.2. */
const example = [
  'version: STSv1',
  'mode: enforce',
  'mx: mail.example.com',
  'mx: *.example.net',
  'mx: backupmx.example.com',
  'max_age: 604800',
]

describe('a policy', () => {
  test('of RFC 8461 §3.2 is read', async () => {
    const mx = ['mail.example.com', '*.example.net', 'backupmx.example.com']
    expect(await readStsPolicy(policyOf(...example))).toEqual({
      ok: true,
      policy: { version: 'STSv1', mode: 'enforce', maxAge: 604_800, mx },
    })
  })

  test.each<[string, string[]]>([
    ['unknown fields', [...example, 'future-field: x']],
    ['LF alone as line ends', [example.join('\n')]],
    ['no line end after the last', [example.join('\r\n')]],
    ['mode none without mx', ['version: STSv1', 'mode: none', 'max_age: 86400']],
    ['the first of a repeated field', [...example, 'mode: none']],
  ])('may have %s', async (_, lines) => {
    expect(await readStsPolicy(lines.length > 1 ? policyOf(...lines) : (lines[0] ?? ''))).toMatchObject({
      ok: true,
    })
  })

  test.each<[string, string[]]>([
    ['nothing in it', []],
    ['HTML', ['<!doctype html>', '<p>mode: enforce</p>']],
    ['no version', example.slice(1)],
    ['another version', ['version: STSv2', ...example.slice(1)]],
    ['no mode', example.filter((line) => !line.startsWith('mode'))],
    ['an unknown mode', ['version: STSv1', 'mode: enforced', ...example.slice(2)]],
    ['no mx in mode enforce', example.filter((line) => !line.startsWith('mx'))],
    ['no max_age', example.slice(0, -1)],
    ['a negative max_age', [...example.slice(0, -1), 'max_age: -1']],
    ['a max_age above a year', [...example.slice(0, -1), 'max_age: 31557601']],
    ['a mx that is a URL', [...example, 'mx: https://mail.example.com']],
    ['a wildcard inside', [...example, 'mx: mail.*.example.com']],
    ['a NUL', [...example, 'x: \0']],
  ])('with %s is invalid', async (_, lines) => {
    expect(await readStsPolicy(policyOf(...lines))).toMatchObject({ ok: false, detail: expect.any(String) })
  })
})

describe('an exchanger (RFC 8461 §4.1)', () => {
  test.each([
    ['mail.example.com', true],
    ['MAIL.Example.COM', true],
    ['mail.example.com.', true],
    ['mx.example.net', true],
    ['a.mx.example.net', false],
    ['example.net', false],
    ['mail.example.com.evil.test', false],
    ['xmail.example.com', false],
    ['*.example.net', false],
    ['', false],
  ])('%j is named: %s', async (host, isNamed) => {
    const read = await readStsPolicy(policyOf(...example))
    expect(read.ok && (await isNamedByPolicy(host, read.policy))).toBe(isNamed)
  })
})
