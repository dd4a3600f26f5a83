/** Messages that were sent: found, followed and explained. */
import type { ValijaEvent } from './events.ts'
import type {
  AcceptedMessage,
  Attempt,
  ChangedMessage,
  Message,
  MessageExplanation,
  MessageSummary,
  Operations,
} from './generated/api.ts'
import type { Listing } from './listing.ts'
import type { CallOptions } from './transport.ts'
import type { SendOptions, Valija } from './valija.ts'

/** What GET /messages looks for; `metadata.<key>` by its value. */
export type MessageSearch = Operations['GET /messages']['query'] & { [key: `metadata.${string}`]: string }

/** @property limit of a page, 1 to 100; 25 */
type PageOptions = CallOptions & { limit?: number }

export class Messages {
  readonly #valija: Valija

  constructor(valija: Valija) {
    this.#valija = valija
  }

  /** Newest first. */
  list(search: MessageSearch = {}, options: CallOptions = {}): Listing<MessageSummary> {
    return this.#valija.list('GET /messages', { ...options, query: search })
  }

  /** With what became of each recipient. */
  get(id: string, options: CallOptions = {}): Promise<Message> {
    return this.#valija.request('GET /messages/{id}', { ...options, path: { id } })
  }

  /** Its timeline, oldest first. */
  events(id: string, { limit, ...options }: PageOptions = {}): Listing<ValijaEvent> {
    const query = limit === undefined ? {} : { limit }
    const events = this.#valija.list('GET /messages/{id}/events', { ...options, query, path: { id } })
    return events as Listing<unknown> as Listing<ValijaEvent>
  }

  /** Each try to deliver it, oldest first. */
  attempts(id: string, { limit, ...options }: PageOptions = {}): Listing<Attempt> {
    const query = limit === undefined ? {} : { limit }
    return this.#valija.list('GET /messages/{id}/attempts', { ...options, query, path: { id } })
  }

  /** Why each recipient waits or failed, and what to do. */
  explain(id: string, options: CallOptions = {}): Promise<MessageExplanation> {
    return this.#valija.request('GET /messages/{id}/explain', { ...options, path: { id } })
  }

  /** The text as it is sent (RFC 5322). */
  raw(id: string, options: CallOptions = {}): Promise<Uint8Array<ArrayBuffer>> {
    return this.#valija.request('GET /messages/{id}/raw', { ...options, path: { id } })
  }

  /** What is not being sent this moment is stopped. @throws {ValijaError} already_sending when that is none of it: `errors` says of each recipient why */
  cancel(id: string, options: CallOptions = {}): Promise<ChangedMessage> {
    return this.#valija.request('POST /messages/{id}/cancel', { ...options, path: { id } })
  }

  /** What is not being sent this moment goes at another time; null: at once. @throws {ValijaError} already_sending */
  move(id: string, sendAt: Date | string | null, options: CallOptions = {}): Promise<ChangedMessage> {
    const send_at = sendAt instanceof Date ? sendAt.toISOString() : sendAt
    return this.#valija.request('PATCH /messages/{id}', { ...options, path: { id }, body: { send_at } })
  }

  /** Sends it again, once, as a new message: to all of its recipients, or to some. */
  resend(
    id: string,
    {
      recipients,
      idempotencyKey = crypto.randomUUID(),
      ...options
    }: SendOptions & { recipients?: string[] } = {},
  ): Promise<AcceptedMessage> {
    const body = recipients === undefined ? {} : { recipients }
    return this.#valija.request('POST /messages/{id}/resend', {
      ...options,
      idempotencyKey,
      path: { id },
      body,
    })
  }
}
