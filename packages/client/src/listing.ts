/** A list of the API, which comes in pages: all its entries by `for await`, or one page. */

export interface Page<T> {
  data: T[]
  /** Where the next page begins; null at the end. */
  next_cursor: string | null
}

/**
 *     for await (const message of valija.messages.list({ status: 'bounced' })) console.log(message.id)
 *     const { data, next_cursor } = await valija.messages.list({ limit: 10 }).page()
 */
export class Listing<T> implements AsyncIterable<T> {
  readonly #read: (cursor: string | undefined) => Promise<Page<T>>

  constructor(read: (cursor: string | undefined) => Promise<Page<T>>) {
    this.#read = read
  }

  /** The page at the cursor, or the first one. */
  page(cursor?: string): Promise<Page<T>> {
    return this.#read(cursor)
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T, void, undefined> {
    let cursor: string | null | undefined
    while (cursor !== null) {
      const page: Page<T> = await this.#read(cursor)
      yield* page.data
      cursor = page.next_cursor
    }
  }

  /** Its entries, the first `limit` ones at most. */
  async toArray(limit = Number.POSITIVE_INFINITY): Promise<T[]> {
    const entries: T[] = []
    if (limit <= 0) return entries
    for await (const entry of this) {
      entries.push(entry)
      if (entries.length >= limit) break
    }
    return entries
  }
}
