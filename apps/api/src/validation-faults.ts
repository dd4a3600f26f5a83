/**
 * What the schema validator found, as field faults that a person can act on.
 *
 * A value that may have several types (`to`: a string, an object or a list) gives one complaint per type and one that none
 * fitted. The complaint that helps is the one of the type that the client meant.
 */
import type { FieldFault } from '@valija/core'
import type { FastifySchemaValidationError } from 'fastify'

export type ValidationContext = 'body' | 'querystring' | 'params' | 'headers'

/**
 * @param errors in Ajv's order: those of the branches before the one about the choice
 * @param context what was validated: paths in a body are JSON pointers (RFC 6901), elsewhere names
 */
export function toFieldFaults(
  errors: readonly FastifySchemaValidationError[],
  context: ValidationContext,
): FieldFault[] {
  const telling = withoutChoices(errors)
  const first = telling[0]
  if (first === undefined) return [{ path: '', message: 'Is not valid.' }]
  if (telling.every((error) => error.keyword === 'type')) {
    const types = telling.map((error) => nameOfType(error.params.type))
    return [{ path: toPath(first, context), message: `Must be ${[...new Set(types.flat())].join(' or ')}.` }]
  }
  return [{ path: toPath(first, context), message: toMessage(first) }]
}

/** The deepest complaints; of those at one place, the ones that are not about the type. */
function withoutChoices(errors: readonly FastifySchemaValidationError[]): FastifySchemaValidationError[] {
  const plain = errors.filter((error) => error.keyword !== 'anyOf' && error.keyword !== 'oneOf')
  const deepest = Math.max(...plain.map((error) => error.instancePath.split('/').length))
  const deep = plain.filter((error) => error.instancePath.split('/').length === deepest)
  const telling = deep.filter((error) => error.keyword !== 'type')
  return telling.length > 0 ? telling : deep
}

function toPath(error: FastifySchemaValidationError, context: ValidationContext): string {
  const { additionalProperty, missingProperty, propertyName } = error.params as Record<
    string,
    string | undefined
  >
  const name = additionalProperty ?? missingProperty ?? propertyName
  const path = name === undefined ? error.instancePath : `${error.instancePath}/${escapeName(name)}`
  return context === 'body' ? path : path.slice(1)
}

/** RFC 6901 section 3. */
function escapeName(name: string): string {
  return name.replaceAll('~', '~0').replaceAll('/', '~1')
}

const kindMessages: Record<string, (params: Record<string, unknown>) => string> = {
  additionalProperties: () => 'Is not known here. Check its spelling, or leave it out.',
  required: () => 'Is missing.',
  enum: ({ allowedValues }) => `Must be one of ${(allowedValues as unknown[]).map(String).join(', ')}.`,
  const: ({ allowedValue }) => `Must be ${JSON.stringify(allowedValue)}.`,
  minimum: ({ limit }) => `Must be at least ${limit}.`,
  maximum: ({ limit }) => `Must be at most ${limit}.`,
  minLength: ({ limit }) => (limit === 1 ? 'Must not be empty.' : `Must have at least ${limit} characters.`),
  maxLength: ({ limit }) => `Must have at most ${limit} characters.`,
  minItems: ({ limit }) => `Must have at least ${limit} ${limit === 1 ? 'entry' : 'entries'}.`,
  maxItems: ({ limit }) => `Must have at most ${limit} entries.`,
  minProperties: ({ limit }) => `Must have at least ${limit} ${limit === 1 ? 'field' : 'fields'}.`,
  maxProperties: ({ limit }) => `Must have at most ${limit} fields.`,
  uniqueItems: () => 'Must not name the same thing twice.',
  format: ({ format }) =>
    format === 'date-time' ? 'Must be a time such as 2026-01-31T09:00:00Z.' : `Must be a valid ${format}.`,
  pattern: () => 'Has characters or a form that are not allowed here.',
}

function toMessage(error: FastifySchemaValidationError): string {
  const toKindMessage = kindMessages[error.keyword]
  return toKindMessage ? toKindMessage(error.params) : `Is not valid: ${error.message ?? error.keyword}.`
}

const typeNames: Record<string, string> = {
  string: 'a string',
  integer: 'a whole number',
  number: 'a number',
  boolean: 'true or false',
  array: 'a list',
  object: 'an object',
  null: 'null',
}

function nameOfType(type: unknown): string[] {
  // Ajv joins several types by commas.
  return (Array.isArray(type) ? type : String(type).split(',')).map(
    (name) => typeNames[String(name)] ?? String(name),
  )
}
