/**
 * The tenant's events, oldest first, for ever: `for await` over it ends only by its signal, by `break`, or by a refusal that waiting does
 * not mend (a revoked key). While the API is away it waits and goes on where it was.
 *
 *     const stream = valija.events({ cursor: await load() })
 *     for await (const event of stream) {
 *       await handle(event)
 *       if (stream.cursor !== undefined) await save(stream.cursor)
 *     }
 */
import { ValijaError } from './error.ts'
import type { ValijaEvent } from './events.ts'
import { backoffMs, type CallOptions, wait } from './transport.ts'

export interface EventStreamOptions extends CallOptions {
  /** Where to begin: `cursor` of an earlier stream. Absent or null: with the oldest event that is kept, or as `after` says. */
  cursor?: string | null
  /** Only what happened at or after (RFC 3339). */
  after?: string
  /** Only these types. Absent: all but message.attempted. */
  types?: readonly ValijaEvent['type'][]
  /** Of a page; 100. */
  limit?: number
  /** Between asking again when there is nothing new; 1,000. */
  idleMs?: number
}

type ReadPage = (
  query: { type?: string[]; after?: string; limit: number; cursor?: string },
  options: CallOptions,
) => Promise<EventPage>

export interface EventPage {
  data: ValijaEvent[]
  /** Where the stream goes on behind them. */
  next_cursor: string
}

/** The longest wait between tries while the API is away. */
const longestWaitMs = 30_000

export class EventStream implements AsyncIterable<ValijaEvent> {
  readonly #read: ReadPage
  readonly #options: EventStreamOptions
  #cursor: string | undefined

  constructor(read: ReadPage, options: EventStreamOptions) {
    this.#read = read
    this.#options = options
    this.#cursor = options.cursor ?? undefined
  }

  /**
   * From where a stream has to begin to miss nothing once the event in hand is handled. Inside a page it is the page's beginning, so up
   * to a page of events comes again after a restart: drop those whose `id` was seen. Undefined until the first page is over.
   */
  get cursor(): string | undefined {
    return this.#cursor
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<ValijaEvent, void, undefined> {
    for await (const { data, next_cursor } of this.pages()) {
      for (const [index, event] of data.entries()) {
        if (index === data.length - 1) this.#cursor = next_cursor
        yield event
        if (this.#options.signal?.aborted) return
      }
    }
  }

  /** The same page by page, for those who store the events and `next_cursor` in one transaction, so that each counts once. */
  async *pages(): AsyncGenerator<EventPage, void, undefined> {
    const { signal, idleMs = 1000 } = this.#options
    let from = this.#cursor
    while (!signal?.aborted) {
      const page = await this.#next(from).catch((error: unknown) => {
        if (signal?.aborted) return null
        throw error
      })
      if (page === null) return
      from = page.next_cursor
      if (page.data.length > 0) yield page
      else {
        this.#cursor = from
        await wait(idleMs, signal).catch(() => undefined)
      }
    }
  }

  async #next(cursor: string | undefined): Promise<EventPage> {
    const { after, types, limit = 100, ...rest } = this.#options
    const query = {
      ...(types && { type: [...types] }),
      ...(after !== undefined && { after }),
      ...(cursor !== undefined && { cursor }),
      limit,
    }
    for (let tries = 1; ; tries++) {
      try {
        return await this.#read(query, rest)
      } catch (error) {
        if (!(error instanceof ValijaError) || !error.isRetryable) throw error
        await wait(Math.min(longestWaitMs, Math.max(error.retryAfterMs ?? 0, backoffMs(tries))), rest.signal)
      }
    }
  }
}
