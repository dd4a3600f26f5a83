/**
 * How requests are validated: two instances of Ajv over the same schemas.
 *
 * A body says what it means: no type is changed, nothing unknown is dropped in silence. Query strings, path parameters and
 * headers are text, so a number in them is read as a number, and one value as a list of one.
 */
import { Ajv, type Options } from 'ajv'
import { fullFormats } from 'ajv-formats/dist/formats.js'
import type { FastifySchemaCompiler } from 'fastify'
import type { NamedSchema } from './route.ts'

const options: Options = {
  removeAdditional: false,
  useDefaults: true,
  // The first fault of the shape ends the search: a body of a million faults costs no more than one.
  allErrors: false,
  // OpenAPI's keywords stand in the schemas as well.
  strict: false,
  formats: fullFormats,
}

/** @param schemas what `ref` refers to */
export function createValidatorCompiler(schemas: readonly NamedSchema[]): FastifySchemaCompiler<object> {
  const bodies = createAjv({ ...options, coerceTypes: false }, schemas)
  const texts = createAjv({ ...options, coerceTypes: 'array' }, schemas)
  return ({ schema, httpPart }) => (httpPart === 'body' ? bodies : texts).compile(schema)
}

function createAjv(settings: Options, schemas: readonly NamedSchema[]): Ajv {
  const ajv = new Ajv(settings)
  for (const schema of schemas) ajv.addSchema(schema)
  return ajv
}
