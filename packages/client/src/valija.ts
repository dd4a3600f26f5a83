/** The client: sending with retries that send once, and everything else that the API does. */
import { type EventPage, EventStream, type EventStreamOptions } from './event-stream.ts'
import type {
  AcceptedMessage,
  BatchMessageInput,
  MessageInput,
  Operations,
  Problem,
} from './generated/api.ts'
import { Listing, type Page } from './listing.ts'
import { Messages } from './messages.ts'
import {
  type AnyInput,
  type Arguments,
  type EntryOf,
  type ListName,
  type OperationName,
  pathOf,
} from './operations.ts'
import { type Answer, type CallOptions, Transport, type TransportOptions } from './transport.ts'

export interface SendOptions extends CallOptions {
  /** Of your own, so that a repetition by another process sends nothing twice either. Absent: a UUID for all tries of this call. */
  idempotencyKey?: string
}

/** What a permissive batch answers for each message, in their order. */
export type BatchResult = { status: 202; message: AcceptedMessage } | { status: number; problem: Problem }

/**
 *     const valija = new Valija({ url: 'https://mail.acme.example', apiKey: process.env.VALIJA_KEY })
 *     const { id } = await valija.send({ from: 'Acme <hi@acme.example>', to: 'ann@example.org', subject: 'Hello', text: 'It works.' })
 */
export class Valija {
  readonly #transport: Transport
  readonly messages: Messages

  constructor(options: TransportOptions) {
    this.#transport = new Transport(options)
    this.messages = new Messages(this)
  }

  /**
   * Sends one message, once: a try whose answer was lost is repeated with the same idempotency key.
   *
   * @returns when it is stored durably; what becomes of it, `messages.get` and `events` tell
   * @throws {ValijaError} with `code` no_answer, it may have been accepted: call again with the same `idempotencyKey`
   */
  async send(message: MessageInput, options: SendOptions = {}): Promise<AcceptedMessage> {
    const { idempotencyKey = crypto.randomUUID(), ...rest } = options
    return await this.request('POST /send', { ...rest, idempotencyKey, body: message })
  }

  /**
   * Sends up to 1,000 messages, each once: those without an `idempotency_key` get one for all tries of this call.
   * `strict` (default): all are accepted, or none. `permissive`: what can be.
   */
  async sendBatch(
    messages: readonly BatchMessageInput[],
    options?: CallOptions & { mode?: 'strict' },
  ): Promise<AcceptedMessage[]>
  async sendBatch(
    messages: readonly BatchMessageInput[],
    options: CallOptions & { mode: 'permissive' },
  ): Promise<BatchResult[]>
  async sendBatch(
    messages: readonly BatchMessageInput[],
    { mode = 'strict', ...rest }: CallOptions & { mode?: 'strict' | 'permissive' } = {},
  ): Promise<AcceptedMessage[] | BatchResult[]> {
    const keyed = messages.map((message) => ({
      ...message,
      idempotency_key: message.idempotency_key ?? crypto.randomUUID(),
    }))
    const { data } = await this.request('POST /send/batch', {
      ...rest,
      query: { mode },
      body: { messages: keyed },
    })
    return data
  }

  /** The tenant's events, oldest first, for ever. */
  events(options: EventStreamOptions = {}): EventStream {
    return new EventStream(async (query, rest) => {
      const page = await this.request('GET /events', { ...rest, query })
      return page as EventPage
    }, options)
  }

  /**
   * Any operation, by its method and path as in the reference:
   *
   *     await valija.request('POST /domains', { body: { name: 'acme.example' } })
   *     await valija.request('DELETE /keys/{id}', { path: { id } })
   *
   * Reads are repeated after trouble; writes are not, unless they carry an idempotency key or are the same twice.
   */
  async request<Name extends OperationName>(
    name: Name,
    ...[input]: Arguments<Name>
  ): Promise<Operations[Name]['answer']> {
    const given: unknown = input
    return contentOf(await this.#call(name, given as AnyInput | undefined)) as Operations[Name]['answer']
  }

  /** All entries of a list: `for await (const domain of valija.list('GET /domains'))`. */
  list<Name extends ListName>(name: Name, ...[input]: Arguments<Name>): Listing<EntryOf<Name>> {
    const unknown: unknown = input
    const given = unknown as AnyInput | undefined
    return new Listing(async (cursor) => {
      const query = { ...given?.query, ...(cursor !== undefined && { cursor }) }
      return contentOf(await this.#call(name, { ...given, query })) as Page<EntryOf<Name>>
    })
  }

  #call(name: OperationName, input: AnyInput = {}): Promise<Answer> {
    const [method = '', template = ''] = name.split(' ')
    const { body, idempotencyKey, path: _path, query: _query, ...options } = input
    const isTable = typeof body === 'string' && takesTables.has(name)
    return this.#transport.call(
      {
        method,
        path: pathOf(template, input),
        headers: {
          ...(idempotencyKey !== undefined && { 'idempotency-key': idempotencyKey }),
          ...(isTable && { 'content-type': 'text/csv' }),
        },
        ...(body !== undefined && { body: isTable ? body : JSON.stringify(body) }),
        isRepeatable: method === 'GET' || idempotencyKey !== undefined || sameWhenRepeated.has(name),
      },
      options,
    )
  }
}

/** Those whose body is a table (RFC 4180), as it is. */
const takesTables: ReadonlySet<OperationName> = new Set(['POST /suppressions/import'])

/** Writes that may come twice: the messages of a batch have keys of their own, and what is cancelled, moved, suppressed or being erased is so already. */
const sameWhenRepeated: ReadonlySet<OperationName> = new Set([
  'POST /send/batch',
  'POST /suppressions/import',
  'POST /messages/{id}/cancel',
  'PATCH /messages/{id}',
  'POST /recipients/erase',
])

/** JSON as what it says, text as a string, a message or a file as its bytes. */
function contentOf({ status, headers, bytes }: Answer): unknown {
  if (status === 204) return undefined
  const type = headers.get('content-type') ?? ''
  if (type.startsWith('application/json')) return JSON.parse(new TextDecoder().decode(bytes))
  return type.startsWith('text/') ? new TextDecoder().decode(bytes) : bytes
}
