/**
 * Values that a JSON Schema of the API's own description allows. A schema does not say what is an address, a host or a time in its text: the
 * hints do, by the name of the field. Without them a valid request would be refused before it comes far.
 */

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json }

/** What of JSON Schema the description uses. */
export interface Schema {
  $ref?: string
  const?: Json
  enum?: Json[]
  anyOf?: Schema[]
  type?: string | string[]
  properties?: Record<string, Schema>
  required?: string[]
  additionalProperties?: boolean | Schema
  items?: Schema
  minItems?: number
  maxItems?: number
  uniqueItems?: boolean
  minLength?: number
  maxLength?: number
  minimum?: number
  maximum?: number
  exclusiveMinimum?: number
  maxProperties?: number
  format?: string
  pattern?: string
}

export type Random = () => number

/** Fields whose text means something: `name` of the field, and what could stand there. */
export type Hints = Record<string, (random: Random) => Json>

export interface ValueSource {
  schemas: Record<string, Schema>
  hints: Hints
}

export const pick = <T>(random: Random, values: readonly T[]): T =>
  values[Math.floor(random() * values.length)] as T

export const between = (random: Random, least: number, most: number): number =>
  least + Math.floor(random() * (most - least + 1))

const manyItems = 4
const words = ['receipt', 'Grüße', 'orders', '数', 'a-b', 'x', '2026']

/** The schema itself, where it is named. */
export function resolved({ schemas }: ValueSource, schema: Schema): Schema {
  const name = schema.$ref?.replace('#/components/schemas/', '')
  if (name === undefined) return schema
  const found = schemas[name]
  if (found === undefined) throw new Error(`no schema is named ${name}`)
  return found
}

/** A value that the schema allows, other with each number of `random`. */
export function valueFrom(source: ValueSource, given: Schema, random: Random, name = ''): Json {
  const hint = source.hints[name]
  if (hint !== undefined) return hint(random)
  const schema = resolved(source, given)
  if (schema.const !== undefined) return schema.const
  if (schema.enum !== undefined) return pick(random, schema.enum)
  if (schema.anyOf !== undefined) return valueFrom(source, pick(random, schema.anyOf), random, name)
  switch (typeof schema.type === 'string' ? schema.type : pick(random, schema.type ?? ['string'])) {
    case 'null':
      return null
    case 'boolean':
      return random() < 0.5
    case 'integer':
      return numberOf(schema, random, Math.floor)
    case 'number':
      return numberOf(schema, random, (value) => value)
    case 'array':
      return itemsOf(source, schema, random, name)
    case 'object':
      return objectOf(source, schema, random)
    default:
      return textOf(schema, random)
  }
}

function numberOf(schema: Schema, random: Random, round: (value: number) => number): number {
  const least = schema.minimum ?? (schema.exclusiveMinimum ?? 0) + (schema.maximum ?? 1000) / 1000
  const most = schema.maximum ?? least + 1000
  const edge = random()
  if (edge < 0.1) return round(least)
  if (edge < 0.2) return round(most)
  return Math.max(least, round(least + random() * (most - least)))
}

function itemsOf(source: ValueSource, schema: Schema, random: Random, name: string): Json[] {
  const most = Math.min(schema.maxItems ?? manyItems, Math.max(manyItems, schema.minItems ?? 0))
  const items: Json[] = []
  for (let left = between(random, schema.minItems ?? 0, most); left > 0; left--)
    items.push(valueFrom(source, schema.items ?? {}, random, `${name}[]`))
  if (!schema.uniqueItems) return items
  return [...new Map(items.map((item) => [JSON.stringify(item), item])).values()]
}

/** What is required, and some of the rest. */
function objectOf(source: ValueSource, schema: Schema, random: Random): Json {
  const required = new Set(schema.required ?? [])
  const share = random()
  const object: Record<string, Json> = {}
  for (const [key, property] of Object.entries(schema.properties ?? {})) {
    if (required.has(key) || random() < share) object[key] = valueFrom(source, property, random, key)
  }
  const more = schema.additionalProperties
  if (typeof more === 'object') {
    for (let left = between(random, 0, 3); left > 0; left--)
      object[`x-${pick(random, words)}`] = valueFrom(source, more, random)
  }
  return object
}

function textOf(schema: Schema, random: Random): string {
  if (schema.format === 'date-time') return timeFrom(random, -40 * 86_400_000, 0)
  if (schema.format === 'date') return timeFrom(random, -40 * 86_400_000, 0).slice(0, 10)
  if (schema.format === 'byte')
    return Buffer.from(`${pick(random, words)} ${random()}`.repeat(between(random, 1, 50))).toString('base64')
  if (schema.pattern?.startsWith('^[a-z0-9](')) return `a${between(random, 0, 999)}`
  const text = pick(random, [...words, `${pick(random, words)} ${between(random, 0, 1e9)}`])
  const most = schema.maxLength ?? 200
  return text.padEnd(schema.minLength ?? 0, 'x').slice(0, random() < 0.05 ? most : Math.min(most, 60))
}

/** An instant so many milliseconds from now, as RFC 3339 has it. */
export function timeFrom(random: Random, leastMs: number, mostMs: number): string {
  return new Date(Date.now() + between(random, leastMs, mostMs)).toISOString()
}
