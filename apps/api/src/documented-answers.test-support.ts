/** Checks answers against the API's own description, so that neither can say more than the other. */
import { Ajv } from 'ajv'
import { fullFormats } from 'ajv-formats/dist/formats.js'
import type { LightMyRequestResponse } from 'fastify'
import { describeApi } from './openapi-file.ts'

type Check = (method: string, url: string, answer: LightMyRequestResponse) => void

/** @returns a check that throws when an answer's status, media type or JSON is not what is documented */
export async function createAnswerCheck(): Promise<Check> {
  const { json } = await describeApi()
  const document = JSON.parse(json, closeObjects) as {
    paths: Record<string, Record<string, { responses: Record<string, { content?: Record<string, object> }> }>>
  }
  const ajv = new Ajv({ strict: false, formats: fullFormats, validateSchema: false, meta: false })
  ajv.addSchema(document, 'api')
  const paths = Object.keys(document.paths).map((path) => ({
    path,
    pattern: new RegExp(`^${path.replaceAll('.', '\\.').replaceAll(/\{\w+\}/g, '[^/]+')}$`),
  }))
  return (method, url, answer) => {
    const plain = url.split('?', 1)[0] ?? ''
    const path = paths.find(({ pattern }) => pattern.test(plain))?.path
    const operation = path === undefined ? undefined : document.paths[path]?.[method.toLowerCase()]
    if (path === undefined || operation === undefined) return
    const where = `${method} ${path} ${answer.statusCode}`
    const response = operation.responses[String(answer.statusCode)]
    if (response === undefined) throw new Error(`${where} is not documented`)
    if (answer.body === '' || response.content === undefined) return
    const type = String(answer.headers['content-type']).split(';', 1)[0] ?? ''
    // Stands for octets of any kind.
    if ('application/octet-stream' in response.content) return
    if (!(type in response.content)) throw new Error(`${where}: ${type} is not documented`)
    if (!type.endsWith('json')) return
    const pointer = [
      'paths',
      path,
      method.toLowerCase(),
      'responses',
      String(answer.statusCode),
      'content',
      type,
      'schema',
    ]
    const validate = ajv.compile({ $ref: `api#/${pointer.map(escapePointer).join('/')}` })
    if (!validate(answer.json())) {
      throw new Error(`${where} is not as documented: ${JSON.stringify(validate.errors)}\n${answer.body}`)
    }
  }
}

/** An object with known properties has no others, unless it says so: an answer must not hold what is not documented. */
function closeObjects(_key: string, value: unknown): unknown {
  const isOpenObject =
    typeof value === 'object' &&
    value !== null &&
    'properties' in value &&
    'type' in value &&
    !('additionalProperties' in value)
  return isOpenObject && value.type === 'object' ? { ...value, additionalProperties: false } : value
}

function escapePointer(text: string): string {
  return encodeURIComponent(text.replaceAll('~', '~0').replaceAll('/', '~1'))
}
