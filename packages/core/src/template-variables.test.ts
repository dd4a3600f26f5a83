import { describe, expect, test } from 'vitest'
import { applyVariables, findDeclarationFaults, type TemplateVariable } from './template-variables.ts'

const apply = (declared: TemplateVariable[], given: Record<string, unknown>) =>
  applyVariables(declared, given)
const pathsOf = (declared: TemplateVariable[]) => findDeclarationFaults(declared).map(({ path }) => path)

describe('what is given', () => {
  test('is taken as it is where nothing is declared', () =>
    expect(apply([], { a: 1, b: null })).toEqual({ values: { a: 1, b: null }, faults: [] }))

  test('is filled in: by the default, or null where it may be absent', () => {
    const declared: TemplateVariable[] = [
      { name: 'a', type: 'string', default: 'there' },
      { name: 'b', type: 'number', required: false },
      { name: 'c', type: 'boolean' },
    ]
    expect(apply(declared, { a: null, c: false })).toEqual({
      values: { a: 'there', b: null, c: false },
      faults: [],
    })
  })

  test('is named where it is missing, of another type, or not declared', () => {
    const declared: TemplateVariable[] = [
      { name: 'first_name', type: 'string' },
      { name: 'total', type: 'number' },
    ]
    expect(apply(declared, { total: '12', frist_name: 'Ann' }).faults).toEqual([
      {
        path: '/first_name',
        message: 'Is missing. Give a string, or declare it with a default or "required": false.',
      },
      { path: '/total', message: 'Must be a number, and is "12".' },
      {
        path: '/frist_name',
        message:
          'The template declares no such variable; it has first_name, total. Correct the name, or leave it out.',
      },
    ])
  })

  test('a name that every object has is missing like any other', () =>
    expect(apply([{ name: 'constructor', type: 'object' }], {}).faults).toMatchObject([
      { path: '/constructor' },
    ]))

  test.each([
    ['string', 'x', 1],
    ['number', 1.5, '1'],
    ['boolean', false, 0],
    ['date', '2026-02-28', '2026-02-30'],
    ['date', '2026-01-31T09:00:00Z', 'tomorrow'],
    ['date', '2026-01-31T09:00:00.5+02:00', '2026-01-31T25:00:00Z'],
    ['url', 'https://a.test/x?y=1', 'javascript:alert(1)'],
    ['url', 'http://a.test', '/x'],
    ['array', [], {}],
    ['object', {}, []],
  ] as const)('a %s is %j and not %j', (type, good, bad) => {
    expect(apply([{ name: 'v', type }], { v: good }).faults).toEqual([])
    expect(apply([{ name: 'v', type }], { v: bad }).faults).toMatchObject([{ path: '/v' }])
  })

  test('is refused where it is too much, or too deep', () => {
    expect(apply([], { a: 'x'.repeat(262_144) }).faults).toMatchObject([{ path: '' }])
    const deep = JSON.parse(`${'['.repeat(5_000)}${']'.repeat(5_000)}`)
    expect(apply([], { deep }).faults).toMatchObject([{ message: expect.stringContaining('deep') }])
  })
})

describe('what is declared', () => {
  test('has names of the language, each once, and fitting defaults', () => {
    expect(
      pathsOf([
        { name: 'a b', type: 'string' },
        { name: 'true', type: 'boolean' },
        { name: 'x', type: 'string' },
        { name: 'x', type: 'string' },
        { name: 'y', type: 'number', default: 'z' },
        { name: 'q', type: 'string', default: '', required: true },
        { name: 'ok_1', type: 'date', default: '2026-01-31', required: false },
      ]),
    ).toEqual([
      '/variables/0/name',
      '/variables/1/name',
      '/variables/3/name',
      '/variables/4/default',
      '/variables/5/required',
    ])
  })

  test('is two hundred at most', () => {
    const many = Array.from({ length: 201 }, (_, i): TemplateVariable => ({ name: `v${i}`, type: 'string' }))
    expect(pathsOf(many.slice(1))).toEqual([])
    expect(pathsOf(many)).toEqual(['/variables'])
  })
})
