/**
 * What the schema validator found, as field faults that a person can act on.
 *
 * A value that may have several types (`to`: a string, an object or a list) gives one complaint per type and one that none
 * fitted. The complaint that helps is the one of the type that the client meant.
 */
import type { FieldFault } from '@valija/core'
import { nearestName } from '@valija/runtime'
import type { FastifySchemaValidationError } from 'fastify'

export type ValidationContext = 'body' | 'querystring' | 'params' | 'headers'

/** So many faults are answered at most: who has more has made the same one many times. */
const maxFaults = 50

/**
 * @param errors in Ajv's order: the first one, or all of them
 * @param context what was validated: paths in a body are JSON pointers (RFC 6901), elsewhere names
 */
export function toFieldFaults(
  errors: readonly FastifySchemaValidationError[],
  context: ValidationContext,
): FieldFault[] {
  const faults: FieldFault[] = []
  for (const [path, found] of byPlace(errors)) {
    if (faults.length >= maxFaults) break
    const types = found.filter((error) => error.keyword === 'type')
    if (types.length > 0) {
      const isRepeated = context === 'querystring' && types.some((error) => error.params.type === 'string')
      const names = new Set(types.flatMap((error) => nameOfType(error.params.type)))
      faults.push({
        path: showPath(path, context),
        message: isRepeated ? 'Give it once.' : `Must be ${[...names].join(' or ')}.`,
      })
    }
    for (const error of found) {
      if (error.keyword !== 'type') faults.push({ path: toPath(error, context), message: toMessage(error) })
    }
  }
  return faults.length > 0 ? faults.slice(0, maxFaults) : [{ path: '', message: 'Is not valid.' }]
}

/**
 * The complaints that help, by the value that they are about. Where a value may have several types, complaints about its
 * type only help if it fits none: with any other complaint at or below it, it had the type that was meant.
 */
function byPlace(
  errors: readonly FastifySchemaValidationError[],
): Map<string, FastifySchemaValidationError[]> {
  const choices = new Set(errors.filter(isAboutChoice).map((error) => error.instancePath))
  const meant = new Set<string>()
  for (const error of errors) {
    if (isAboutChoice(error)) continue
    if (error.keyword !== 'type') meant.add(error.instancePath)
    // Once a place is noted, so are those above it: each is visited once.
    for (
      let above = parentOf(error.instancePath);
      above !== null && !meant.has(above);
      above = parentOf(above)
    )
      meant.add(above)
  }
  const places = new Map<string, FastifySchemaValidationError[]>()
  for (const error of errors) {
    const { instancePath: path, keyword } = error
    if (isAboutChoice(error) || (keyword === 'type' && choices.has(path) && meant.has(path))) continue
    const place = places.get(path)
    if (place) place.push(error)
    else places.set(path, [error])
  }
  return places
}

function isAboutChoice({ keyword }: FastifySchemaValidationError): boolean {
  return keyword === 'anyOf' || keyword === 'oneOf'
}

/** @returns null for the root */
function parentOf(path: string): string | null {
  return path === '' ? null : path.slice(0, path.lastIndexOf('/'))
}

function toPath(error: FastifySchemaValidationError, context: ValidationContext): string {
  const { additionalProperty, missingProperty, propertyName } = error.params as Record<
    string,
    string | undefined
  >
  const name = additionalProperty ?? missingProperty ?? propertyName
  const path = name === undefined ? error.instancePath : `${error.instancePath}/${escapeName(name)}`
  return showPath(path, context)
}

function showPath(path: string, context: ValidationContext): string {
  return context === 'body' ? path : path.slice(1)
}

/** RFC 6901 section 3. */
function escapeName(name: string): string {
  return name.replaceAll('~', '~0').replaceAll('/', '~1')
}

const kindMessages: Record<string, (params: Record<string, unknown>) => string> = {
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
  if (error.keyword === 'additionalProperties') return toUnknownMessage(error)
  const toKindMessage = kindMessages[error.keyword]
  return toKindMessage ? toKindMessage(error.params) : `Is not valid: ${error.message ?? error.keyword}.`
}

/** @param error where the validator is verbose, with the schema in which the name is unknown */
function toUnknownMessage(
  error: FastifySchemaValidationError & { parentSchema?: { $id?: string; properties?: object } },
): string {
  const known = Object.keys(error.parentSchema?.properties ?? {})
  const name = String(error.params.additionalProperty)
  if (name === 'idempotency_key' && known.includes('subject'))
    return 'Is no field here: send it as the header Idempotency-Key.'
  const nearest = nearestName(name, known, Math.min(2, name.length - 2))
  return nearest === null
    ? 'Is not known here. Check its spelling, or leave it out.'
    : `Is not known here; did you mean ${nearest.name}?`
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
