import { Ajv } from 'ajv'
import { describe, expect, test } from 'vitest'
import { toFieldFaults } from './validation-faults.ts'

const address = {
  anyOf: [
    { type: 'string' },
    {
      type: 'object',
      required: ['email'],
      additionalProperties: false,
      properties: { email: { type: 'string' } },
    },
  ],
}
const schema = {
  type: 'object',
  additionalProperties: false,
  required: ['name'],
  properties: {
    name: { type: 'string', maxLength: 3 },
    kind: { enum: ['a', 'b'] },
    to: { anyOf: [{ type: 'string' }, { type: 'array', items: address }] },
    'a/b': { type: 'integer' },
    maybe: { type: ['string', 'null'] },
  },
}
const validate = new Ajv({ allErrors: false, strict: false }).compile(schema)
const faultsOf = (value: unknown) => {
  validate(value)
  return toFieldFaults((validate.errors ?? []) as never, 'body')
}

describe('toFieldFaults', () => {
  test.each([
    [{ name: 'x', colour: 1 }, '/colour', 'Is not known here. Check its spelling, or leave it out.'],
    [{}, '/name', 'Is missing.'],
    [{ name: 'long' }, '/name', 'Must have at most 3 characters.'],
    [{ name: 'x', kind: 'c' }, '/kind', 'Must be one of a, b.'],
    [{ name: 'x', to: 7 }, '/to', 'Must be a string or a list.'],
    [{ name: 'x', to: [7] }, '/to/0', 'Must be a string or an object.'],
    [{ name: 'x', to: [{ email: 7 }] }, '/to/0/email', 'Must be a string.'],
    [{ name: 'x', to: [{}] }, '/to/0/email', 'Is missing.'],
    [
      { name: 'x', to: [{ email: 'a', nick: 'b' }] },
      '/to/0/nick',
      'Is not known here. Check its spelling, or leave it out.',
    ],
    [{ name: 'x', 'a/b': 'c' }, '/a~1b', 'Must be a whole number.'],
    [{ name: 'x', maybe: 7 }, '/maybe', 'Must be a string or null.'],
    [[], '', 'Must be an object.'],
  ])('%j is told where and why', (value, path, message) => {
    expect(faultsOf(value)).toEqual([{ path, message }])
  })

  const validateAll = new Ajv({ allErrors: true, strict: false }).compile(schema)
  const allFaultsOf = (value: unknown) => {
    validateAll(value)
    return toFieldFaults((validateAll.errors ?? []) as never, 'body')
  }

  test('all faults are named, each at its own place, and none twice', () => {
    const body = { kind: 'c', to: ['a', 7, { email: 7 }, { nick: 'b' }], colour: 1, size: 2, maybe: 7 }
    expect(allFaultsOf(body)).toHaveLength(9)
    expect(new Map(allFaultsOf(body).map(({ path, message }) => [path, message]))).toEqual(
      new Map([
        ['/name', 'Is missing.'],
        ['/kind', 'Must be one of a, b.'],
        ['/to/1', 'Must be a string or an object.'],
        ['/to/2/email', 'Must be a string.'],
        ['/to/3/email', 'Is missing.'],
        ['/to/3/nick', 'Is not known here. Check its spelling, or leave it out.'],
        ['/colour', 'Is not known here. Check its spelling, or leave it out.'],
        ['/size', 'Is not known here. Check its spelling, or leave it out.'],
        ['/maybe', 'Must be a string or null.'],
      ]),
    )
  })

  test.each([
    ['entries', { name: 'x', to: Array(1000).fill(7) }],
    ['unknown fields', Object.fromEntries(Array.from({ length: 1000 }, (_, i) => [`f${i}`, 1]))],
  ])('of a thousand wrong %s, fifty are named', (_what, body) => {
    expect(allFaultsOf(body)).toHaveLength(50)
  })

  test('where the schema is told with the fault, an unknown name is told the nearest that is known', () => {
    const verbose = new Ajv({ strict: false, verbose: true }).compile(schema)
    const messageOf = (value: object) => {
      verbose(value)
      return toFieldFaults((verbose.errors ?? []) as never, 'body')[0]?.message
    }
    expect(messageOf({ name: 'x', mabye: 1 })).toBe('Is not known here; did you mean maybe?')
    expect(messageOf({ name: 'x', colour: 1 })).toMatch(/Check its spelling/)
  })

  test('a query key is named without a slash', () => {
    const [fault] = toFieldFaults(
      [
        {
          keyword: 'additionalProperties',
          instancePath: '',
          schemaPath: '',
          params: { additionalProperty: 'x' },
        },
      ],
      'querystring',
    )
    expect(fault?.path).toBe('x')
  })
})
