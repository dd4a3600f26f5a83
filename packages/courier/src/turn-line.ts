/**
 * A line in which tenants take turns by weight, and inside a tenant its streams: whoever has much to send does not stand in
 * front of somebody who has little. First come, first served inside a stream.
 *
 * What a worker has leased already would otherwise be a plain queue, and the dispatcher's fairness would end where the slow part
 * begins. The shares are the dispatcher's: tenants by weight, transactional : bulk = 4 : 1 (DESIGN 4.14).
 */
import { type Stream, streamWeights } from '@valija/core'

/** Whose turn an entry takes. */
export interface Turn {
  readonly tenantId: string
  readonly weight: number
  readonly stream: Stream
}

export interface Turned {
  readonly turn: Turn
}

export class TurnLine<Entry extends Turned> {
  readonly #tenants = new Round<Round<Party<Entry>>>()
  /** They had their turn and could not use it: the very next, the last put back first. */
  #returned: Entry[] = []
  #length = 0

  get length(): number {
    return this.#length
  }

  push(entry: Entry): void {
    const { tenantId, weight, stream } = entry.turn
    const streams = this.#tenants.join(tenantId, weight, () => new Round<Party<Entry>>())
    streams.join(stream, streamWeights[stream], () => new Party<Entry>()).entries.push(entry)
    this.#length += 1
  }

  /** Back to the front, as the very next: it has had its turn and could not use it. */
  putBack(entry: Entry): void {
    this.#returned.push(entry)
    this.#length += 1
  }

  /** The entry whose turn is next, left where it is. */
  peek(): Entry | undefined {
    return this.#returned.at(-1) ?? this.#tenants.next()?.line.next()?.line.entries[0]
  }

  shift(): Entry | undefined {
    const entry = this.#returned.pop() ?? shiftTurn(this.#tenants)
    if (entry !== undefined) this.#length -= 1
    return entry
  }

  /** Takes all out, in the order of their turns. */
  takeAll(): Entry[] {
    const entries: Entry[] = []
    for (let entry = this.shift(); entry !== undefined; entry = this.shift()) entries.push(entry)
    return entries
  }

  /** Takes out what stands behind the next `count`, in the order of their turns; the others keep theirs. */
  takeBehind(count: number): Entry[] {
    if (this.length <= count) return []
    const behind = this.#inOrder().slice(count)
    const isBehind = new Set(behind)
    this.takeWhere((entry) => isBehind.has(entry))
    return behind
  }

  /** Takes out those of which `isMeant` is true; the others keep their turns. */
  takeWhere(isMeant: (entry: Entry) => boolean): Entry[] {
    const taken: Entry[] = []
    const filtered = (entries: Entry[]): Entry[] => {
      const { meant = [], others = [] } = Object.groupBy(entries, (entry) =>
        isMeant(entry) ? 'meant' : 'others',
      )
      taken.push(...meant)
      return others
    }
    this.#returned = filtered(this.#returned)
    for (const tenant of this.#tenants.lines()) {
      for (const party of tenant.lines()) party.entries = filtered(party.entries)
    }
    this.#length -= taken.length
    return taken
  }

  /** All entries as their turns will come. */
  #inOrder(): Entry[] {
    const order = this.#returned.toReversed()
    const copy = this.#tenants.copy((streams) => streams.copy((party) => new Party([...party.entries])))
    for (let entry = shiftTurn(copy); entry !== undefined; entry = shiftTurn(copy)) order.push(entry)
    return order
  }
}

function shiftTurn<Entry>(tenants: Round<Round<Party<Entry>>>): Entry | undefined {
  const tenant = tenants.next()
  const stream = tenant?.line.next()
  if (tenant === undefined || stream === undefined) return undefined
  const entry = stream.line.entries.shift()
  tenant.line.charge(stream)
  tenants.charge(tenant)
  return entry
}

class Party<Entry> {
  entries: Entry[]

  constructor(entries: Entry[] = []) {
    this.entries = entries
  }

  get length(): number {
    return this.entries.length
  }
}

interface Member<Line> {
  readonly line: Line
  weight: number
  /** What it has had, in turns by weight; the least is next. */
  had: number
}

/**
 * Weighted round-robin by start-time fair queueing (Goyal, Vin and Cheng, SIGCOMM 1996): a turn costs 1/weight, and whoever has
 * had least is next. Who comes new, or back, begins at the present turn: the past gives nobody a claim. Who was served ahead
 * of it and left keeps that on its account until the others have caught up.
 */
class Round<Line extends { readonly length: number }> {
  readonly #members = new Map<string, Member<Line>>()
  #now = 0

  get length(): number {
    let length = 0
    for (const { line } of this.#members.values()) length += line.length
    return length
  }

  *lines(): Iterable<Line> {
    for (const { line } of this.#members.values()) yield line
  }

  join(name: string, weight: number, create: () => Line): Line {
    const member = this.#members.get(name) ?? { line: create(), weight, had: this.#now }
    if (member.line.length === 0) member.had = Math.max(member.had, this.#now)
    member.weight = weight
    this.#members.set(name, member)
    return member.line
  }

  next(): Member<Line> | undefined {
    let first: Member<Line> | undefined
    for (const member of this.#members.values()) {
      if (member.line.length > 0 && (first === undefined || member.had < first.had)) first = member
    }
    return first
  }

  /** It has had a turn. */
  charge(member: Member<Line>): void {
    this.#now = member.had
    member.had += 1 / member.weight
    for (const [name, { line, had }] of this.#members) {
      if (line.length === 0 && had <= this.#now) this.#members.delete(name)
    }
  }

  copy(copyLine: (line: Line) => Line): Round<Line> {
    const copied = new Round<Line>()
    for (const [name, member] of this.#members) {
      copied.#members.set(name, { ...member, line: copyLine(member.line) })
    }
    copied.#now = this.#now
    return copied
  }
}
