/** Schemas are made as TypeBox makes them: validation, documentation and the client's types rest on that. */
import { Type as TypeBox } from 'typebox'
import { expect, test } from 'vitest'
import { Type } from './schema-types.ts'

type Maker = typeof Type

const examples: [string, (type: Maker) => unknown][] = [
  ['texts', (type) => type.String({ maxLength: 3, description: 'A text.' })],
  ['numbers', (type) => [type.Integer(), type.Integer({ minimum: 1 }), type.Number({ maximum: 0.5 })]],
  ['truths and nothing', (type) => [type.Boolean({ default: true }), type.Null(), type.Null({ title: 'x' })]],
  ['anything', (type) => [type.Unknown(), type.Unknown({ description: 'Any.' })]],
  ['literals', (type) => [type.Literal('a'), type.Literal(7), type.Literal(true, { description: 'Yes.' })]],
  ['enumerations', (type) => [type.Enum(['a', 'b']), type.Enum(['a'], { default: 'a' })]],
  ['lists', (type) => [type.Array(type.String()), type.Array(type.Null(), { maxItems: 2 })]],
  ['maps', (type) => [type.Record(type.String(), type.Integer(), { maxProperties: 2 })]],
  ['one of several', (type) => type.Union([type.String(), type.Null()], { examples: [null] })],
  ['objects without a field', (type) => type.Object({}, { additionalProperties: false })],
  [
    'objects with fields that must be there and others that need not',
    (type) =>
      type.Object(
        {
          b: type.String(),
          a: type.Optional(type.Array(type.String())),
          c: type.Unsafe<'x'>(type.Optional(type.Enum(['x']))),
          d: type.Unsafe<null>({ $ref: 'D#' }),
        },
        { description: 'An object.' },
      ),
  ],
  ['objects with nothing that must be there', (type) => type.Object({ a: type.Optional(type.Null()) })],
]

test.each(examples)('%s', (_, make) => {
  expect(JSON.stringify(make(Type))).toBe(JSON.stringify(make(TypeBox)))
})

test('there is an example of each function', () => {
  const used = examples.map(([, make]) => make.toString()).join('\n')
  expect(Object.keys(Type).filter((name) => !used.includes(`type.${name}`))).toEqual([])
})
