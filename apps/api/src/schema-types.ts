/**
 * What schemas are made with: TypeBox's types, and of its code the few functions that we use, written here.
 *
 * Its own package loads 373 files to make plain objects, 0.1 s at the start of every API. `schema-types.test.ts` compares ours with it,
 * function by function.
 */
import type { Static, TInteger, TObject, TSchema, Type as TypeBox } from 'typebox'

export type { Static, TInteger, TObject, TSchema }

type Made =
  | ('String' | 'Integer' | 'Number' | 'Boolean' | 'Null' | 'Unknown' | 'Literal' | 'Enum')
  | ('Array' | 'Object' | 'Record' | 'Union' | 'Optional' | 'Unsafe')

type Schema = object
type Options = object

/** Marks an optional field, unseen by whoever reads the schema: whether a field must be there is said by its object. */
const optional = '~optional'

const isOptional = (schema: Schema): boolean => Object.hasOwn(schema, optional)

const made = {
  String: (options?: Options) => ({ type: 'string', ...options }),
  Integer: (options?: Options) => ({ type: 'integer', ...options }),
  Number: (options?: Options) => ({ type: 'number', ...options }),
  Boolean: (options?: Options) => ({ type: 'boolean', ...options }),
  Null: (options?: Options) => ({ type: 'null', ...options }),
  Unknown: (options?: Options) => ({ ...options }),
  Literal: (value: unknown, options?: Options) => ({ type: typeof value, const: value, ...options }),
  Enum: (values: readonly unknown[], options?: Options) => ({ enum: values, ...options }),
  Array: (items: Schema, options?: Options) => ({ type: 'array', items, ...options }),
  Object: (properties: Readonly<Record<string, Schema>>, options?: Options) => {
    const required = Object.keys(properties).filter((name) => !isOptional(properties[name] ?? {}))
    return { type: 'object', ...(required.length > 0 && { required }), properties, ...options }
  },
  /** Of texts as keys, which are all that JSON has. */
  Record: (_key: Schema, value: Schema, options?: Options) => ({
    type: 'object',
    patternProperties: { '^.*$': value },
    ...options,
  }),
  Union: (anyOf: readonly Schema[], options?: Options) => ({ anyOf, ...options }),
  Optional: (schema: Schema) => Object.defineProperty({ ...schema }, optional, { value: true }),
  /** Changes the type alone. */
  Unsafe: (schema: Schema) => schema,
}

export const Type = made as unknown as Pick<typeof TypeBox, Made>
