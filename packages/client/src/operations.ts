/** An operation of the API by its method and path: what it takes and answers, and the request that it is. */
import type { Operations } from './generated/api.ts'
import type { CallOptions } from './transport.ts'

export type OperationName = keyof Operations

type AnswerOf<Name extends OperationName> = Operations[Name]['answer']

/** Those that answer page by page, and end: GET /events does not. */
export type ListName = Exclude<
  {
    [Name in OperationName]: AnswerOf<Name> extends { data: unknown[]; next_cursor: string | null }
      ? Name
      : never
  }[OperationName],
  'GET /events'
>

export type EntryOf<Name extends ListName> = AnswerOf<Name> extends { data: (infer Entry)[] } ? Entry : never

/** Left out where there is nothing to say, optional where nothing has to be. */
type Part<Key extends string, Value> = Value extends undefined
  ? { [K in Key]?: undefined }
  : Record<string, never> extends Value
    ? { [K in Key]?: Value }
    : undefined extends Value
      ? { [K in Key]?: Value }
      : { [K in Key]: Value }

export type Input<Name extends OperationName> = Part<'path', Operations[Name]['path']> &
  Part<'query', Operations[Name]['query']> &
  Part<'body', Operations[Name]['body']> &
  CallOptions & { idempotencyKey?: string }

/** The arguments behind the operation's name: none need be given where nothing has to be said. */
export type Arguments<Name extends OperationName> =
  Record<string, never> extends Input<Name> ? [input?: Input<Name>] : [input: Input<Name>]

/** What every `Input` is. */
export interface AnyInput extends CallOptions {
  path?: Record<string, string | number>
  query?: object
  body?: unknown
  idempotencyKey?: string
}

/**
 * The path of a request with its query; lists are repeated, what is undefined or null is left out.
 *
 * @throws {TypeError} a parameter that is written `:id`, or has no value: the API would be asked for something else
 */
export function pathOf(template: string, { path = {}, query = {} }: AnyInput): string {
  const colon = /\/:(\w+)/.exec(template)?.[1]
  if (colon !== undefined)
    throw new TypeError(`In ${template} write {${colon}} for :${colon}, and give { path: { ${colon} } }.`)
  const filled = template.replace(/\{(\w+)\}/g, (_, name: string) => {
    const value = path[name]
    if (value === undefined || value === null || value === '')
      throw new TypeError(`${template} needs a value for {${name}}: give { path: { ${name} } }.`)
    return encodeURIComponent(String(value))
  })
  const search = new URLSearchParams()
  for (const [name, value] of Object.entries(query)) {
    for (const one of [value].flat()) if (one !== undefined && one !== null) search.append(name, String(one))
  }
  return search.size === 0 ? filled : `${filled}?${search}`
}
