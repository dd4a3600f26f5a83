/**
 * A line in which parties take turns: whoever has much to send does not stand in front of somebody who has little.
 *
 * First come, first served inside a party; between parties round-robin. What a worker has leased already would otherwise be a
 * plain queue, and the dispatcher's fairness would end where the slow part begins.
 */
export interface Turned {
  /** The party that the entry belongs to, such as a tenant's stream. */
  readonly turn: string
}

export class TurnLine<Entry extends Turned> {
  /** In the order of their next turns; none is empty. */
  readonly #parties = new Map<string, Entry[]>()
  #length = 0

  get length(): number {
    return this.#length
  }

  push(entry: Entry): void {
    const party = this.#parties.get(entry.turn)
    if (party === undefined) this.#parties.set(entry.turn, [entry])
    else party.push(entry)
    this.#length += 1
  }

  /** Back to the front, as the very next: it has had its turn and could not use it. */
  putBack(entry: Entry): void {
    const others = [...this.#parties].filter(([turn]) => turn !== entry.turn)
    const party = [entry, ...(this.#parties.get(entry.turn) ?? [])]
    this.#parties.clear()
    this.#parties.set(entry.turn, party)
    for (const [turn, entries] of others) this.#parties.set(turn, entries)
    this.#length += 1
  }

  /** The entry whose turn is next, left where it is. */
  peek(): Entry | undefined {
    for (const party of this.#parties.values()) return party[0]
    return undefined
  }

  shift(): Entry | undefined {
    for (const [turn, party] of this.#parties) {
      const entry = party.shift()
      this.#parties.delete(turn)
      if (party.length > 0) this.#parties.set(turn, party)
      this.#length -= 1
      return entry
    }
    return undefined
  }

  /** Takes all out, in the order of their turns. */
  takeAll(): Entry[] {
    const entries: Entry[] = []
    for (let entry = this.shift(); entry !== undefined; entry = this.shift()) entries.push(entry)
    return entries
  }

  /** Takes out what stands behind the next `count`, in the order of their turns. */
  takeBehind(count: number): Entry[] {
    if (this.#length <= count) return []
    const entries = this.takeAll()
    for (const entry of entries.slice(0, count)) this.push(entry)
    return entries.slice(count)
  }

  /** Takes out those of which `isMeant` is true; the others keep their turns. */
  takeWhere(isMeant: (entry: Entry) => boolean): Entry[] {
    const taken: Entry[] = []
    for (const [turn, party] of this.#parties) {
      const { meant = [], others = [] } = Object.groupBy(party, (entry) =>
        isMeant(entry) ? 'meant' : 'others',
      )
      if (meant.length === 0) continue
      taken.push(...meant)
      if (others.length > 0) this.#parties.set(turn, others)
      else this.#parties.delete(turn)
    }
    this.#length -= taken.length
    return taken
  }
}
