/**
 * How requests are validated: instances of Ajv over the same schemas.
 *
 * A body says what it means: no type is changed, nothing unknown is dropped in silence. Query strings, path parameters and
 * headers are text, so a number in them is read as a number, and one value as a list of one.
 *
 * A body that fails can be asked for all that is wrong with it (`findBodyErrors`), which costs valid bodies nothing.
 */
import { Ajv, type Options, type ValidateFunction } from 'ajv'
import { fullFormats } from 'ajv-formats/dist/formats.js'
import type { FastifyRequest, FastifySchemaCompiler, FastifySchemaValidationError } from 'fastify'
import type { NamedSchema } from './route.ts'

const options: Options = {
  removeAdditional: false,
  useDefaults: true,
  // The first fault of the shape ends the search: a body of a million faults costs no more than one.
  allErrors: false,
  // OpenAPI's keywords stand in the schemas as well.
  strict: false,
  formats: fullFormats,
  // That our own schemas are schemas is for a test to say (app.db.test.ts): it took an eighth of the start.
  validateSchema: false,
  meta: false,
}

/** Up to so many octets, all faults of a body are searched: under 0.1 s for one that is nothing but faults. */
const maxSearchedBytes = 64 * 1024

export interface Validator {
  (data: unknown): boolean
  /** Of the last call. */
  errors?: ValidateFunction['errors']
  /** Of a body: finds all faults. Compiled when the first body fails, since most routes never see one. */
  toThorough?: () => ValidateFunction
}

/**
 * What it compiles is compiled by Ajv for the first request that needs it, in some ms: there are over two hundred schemas, and all
 * of them took a fifth of the start.
 *
 * @param schemas what `ref` refers to
 */
export function createValidatorCompiler(schemas: readonly NamedSchema[]): FastifySchemaCompiler<object> {
  // Verbose: with the schema that was not met, for the names that it knows (validation-faults.ts).
  const bodies = createAjv({ ...options, coerceTypes: false }, schemas)
  const texts = createAjv({ ...options, coerceTypes: 'array', verbose: true }, schemas)
  const thorough = createAjv({ ...options, coerceTypes: false, allErrors: true, verbose: true }, schemas)
  // Compares every entry with every other, and with allErrors it is not stopped by maxItems.
  thorough.removeKeyword('uniqueItems')
  return ({ schema, httpPart }) => {
    if (httpPart !== 'body') return compileLate(texts, schema)
    const validate = compileLate(bodies, schema)
    // Ajv keeps what it has compiled, by the schema.
    validate.toThorough = () => thorough.compile(schema)
    return validate
  }
}

/**
 * All that is wrong with a body that was refused.
 *
 * @param found the first fault: the answer for long bodies
 * @returns also what tells whether another body is of the shape; null for long ones
 */
export function findBodyErrors(
  request: FastifyRequest,
  found: FastifySchemaValidationError[],
): { errors: FastifySchemaValidationError[]; isOfShape: ((body: unknown) => boolean) | null } {
  const some = { errors: found, isOfShape: null }
  if ((request.bodyBytes?.length ?? 0) > maxSearchedBytes) return some
  const validate = request.getValidationFunction('body') as Validator | undefined
  const thorough = validate?.toThorough?.()
  if (validate === undefined || thorough === undefined || thorough(request.body)) return some
  return { errors: (thorough.errors ?? found) as FastifySchemaValidationError[], isOfShape: validate }
}

function compileLate(ajv: Ajv, schema: object): Validator {
  let compiled: ValidateFunction | null = null
  const validate: Validator = (data) => {
    compiled ??= ajv.compile(schema)
    const isValid = compiled(data)
    validate.errors = compiled.errors
    return isValid
  }
  return validate
}

function createAjv(settings: Options, schemas: readonly NamedSchema[]): Ajv {
  const ajv = new Ajv(settings)
  for (const schema of schemas) ajv.addSchema(schema)
  return ajv
}
