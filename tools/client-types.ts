/**
 * The types of packages/client, from the API's description: every schema that it names as a type of that name, and every operation as
 * an entry of `Operations`. So the client's types are the schemas by which requests are validated and answers are serialised.
 *
 * Knows the vocabulary that the description uses, and throws at anything else.
 */
import { parse } from 'yaml'

interface Schema {
  $ref?: string
  type?: string | string[]
  enum?: unknown[]
  const?: unknown
  anyOf?: Schema[]
  allOf?: Schema[]
  items?: Schema
  properties?: Record<string, Schema>
  required?: string[]
  additionalProperties?: boolean | Schema
  description?: string
  format?: string
}

interface Operation {
  summary: string
  parameters?: { name: string; in: 'path' | 'query' | 'header'; required?: boolean; schema: Schema }[]
  requestBody?: { required?: boolean; content: Record<string, { schema: Schema }> }
  responses: Record<string, { content?: Record<string, { schema: Schema }> }>
}

interface Description {
  components: { schemas: Record<string, Schema> }
  paths: Record<string, Record<string, Operation>>
}

/** @param openApi the description as YAML */
export function clientTypes(openApi: string): string {
  const { components, paths } = parse(openApi) as Description
  const schemas = Object.entries(components.schemas).map(
    ([name, schema]) => `${comment(schema.description, '')}export type ${name} = ${typeOf(schema, '')}\n`,
  )
  const operations = Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => operationType(method, path, operation)),
  )
  return [
    '/** The types of the API. Written by tools/generate-openapi.ts from its description: not to be changed by hand. */\n',
    ...schemas,
    `/** What each operation takes and answers. */\nexport interface Operations {\n${operations.join('')}}\n`,
  ].join('\n')
}

function operationType(method: string, path: string, operation: Operation): string {
  const { summary, parameters = [], requestBody, responses } = operation
  const named = (place: string) => {
    const entries = parameters
      .filter((parameter) => parameter.in === place)
      .map(({ name, required, schema }) => `${quoted(name)}${required ? '' : '?'}: ${typeOf(schema, '    ')}`)
    return entries.length === 0 ? '{}' : `{ ${entries.join('; ')} }`
  }
  const answers = Object.entries(responses)
    .filter(([status]) => status.startsWith('2'))
    .map(([, { content }]) => contentType(content) ?? 'undefined')
  const body = requestBody && contentType(requestBody.content)
  const isOptional = requestBody?.required !== true
  return [
    comment(`${summary}.`, '  '),
    `  '${method.toUpperCase()} ${path}': {\n`,
    `    path: ${named('path')}\n    query: ${named('query')}\n`,
    `    body: ${body === undefined ? 'undefined' : isOptional ? `${body} | undefined` : body}\n`,
    `    answer: ${[...new Set(answers)].join(' | ')}\n  }\n`,
  ].join('')
}

/** JSON as its type, text as a string, all else as bytes. */
function contentType(content: Record<string, { schema: Schema }> | undefined): string | undefined {
  const [entry] = Object.entries(content ?? {})
  if (entry === undefined) return undefined
  const [mediaType, { schema }] = entry
  if (mediaType === 'application/json') return typeOf(schema, '    ')
  return mediaType.startsWith('text/') ? 'string' : 'Uint8Array<ArrayBuffer>'
}

function typeOf(schema: Schema, margin: string): string {
  if (schema.$ref !== undefined) return schema.$ref.replace('#/components/schemas/', '')
  if (schema.const !== undefined) return JSON.stringify(schema.const)
  if (schema.enum !== undefined) return schema.enum.map((value) => literal(value)).join(' | ')
  if (schema.anyOf !== undefined) return schema.anyOf.map((one) => typeOf(one, margin)).join(' | ')
  if (schema.allOf !== undefined) return schema.allOf.map((one) => `(${typeOf(one, margin)})`).join(' & ')
  const types = [schema.type ?? 'unknown'].flat()
  return types.map((type) => typeNamed(type, schema, margin)).join(' | ')
}

function typeNamed(type: string, schema: Schema, margin: string): string {
  switch (type) {
    case 'string':
    case 'boolean':
    case 'null':
    case 'unknown':
      return type
    case 'integer':
    case 'number':
      return 'number'
    case 'array':
      return `(${typeOf(schema.items ?? {}, margin)})[]`
    case 'object':
      return objectType(schema, margin)
    default:
      throw new Error(`The type ${type} of the description has no counterpart in tools/client-types.ts`)
  }
}

function objectType(
  { properties = {}, required = [], additionalProperties }: Schema,
  margin: string,
): string {
  const within = `${margin}  `
  const lines = Object.entries(properties).map(([name, schema]) => {
    const sign = required.includes(name) ? '' : '?'
    return `${comment(schema.description, within)}${within}${quoted(name)}${sign}: ${typeOf(schema, within)}\n`
  })
  const others =
    typeof additionalProperties === 'object'
      ? `Record<string, ${typeOf(additionalProperties, margin)}>`
      : 'Record<string, unknown>'
  if (lines.length === 0) return additionalProperties === false ? 'Record<string, never>' : others
  const known = `{\n${lines.join('')}${margin}}`
  return typeof additionalProperties === 'object' || additionalProperties === true
    ? `(${known} & ${others})`
    : known
}

function comment(text: string | undefined, margin: string): string {
  return text === undefined ? '' : `${margin}/** ${text.replaceAll('*/', '*\\/').replace(/\s+/g, ' ')} */\n`
}

const quoted = (name: string) => (/^[A-Za-z_]\w*$/.test(name) ? name : literal(name))
const literal = (value: unknown) => (typeof value === 'string' ? `'${value}'` : JSON.stringify(value))
