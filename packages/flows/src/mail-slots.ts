/**
 * The right to begin a mail at a site that takes so many per second: slots of one line in PostgreSQL, which all workers draw
 * from (DESIGN 4.15). A worker draws a few at a time and spaces its mails by them; a slot that nobody used in time is lost.
 *
 * Slots are 1/0.9 of the rate's spacing apart. So a second holds one mail more than allowed only where one came 110 ms late, on its
 * way from here to the peer's reading of MAIL, and its successors in time. (With 1/0.95, thus 50 ms, a busy machine was seen to do
 * that.) A slot that is missed by more than 20 ms here is not used any more.
 */
import { type Database, type DatabaseClock, drawSlots, type SlotRequest } from '@valija/store'

export interface MailSlots {
  /** @returns null when a mail may begin now; else a promise that resolves when it may */
  take(scopeKey: string, mailsPerSecond: number): Promise<void> | null
  /** When the next mail can begin, for slow sites, in milliseconds of PostgreSQL's clock; 0: not known, or soon. */
  nextAt(scopeKey: string): number
  stop(): void
}

export interface MailSlotsParts {
  database: Database
  clock: Pick<DatabaseClock, 'nowMs'>
  onError: (error: Error) => void
}

const margin = 0.9
const usableForMs = 20
/** What a worker holds is at most this much time, and at least a slot. */
const chunkMs = 250
/** A slot farther ahead is not taken yet: whoever comes first then gets it. */
const horizonMs = 500
const afterErrorMs = 500
/** A line is asked for at least this often while somebody waits: PostgreSQL's clock may have been set. */
const askAgainMs = 5_000

interface Line {
  scopeKey: string
  spacingMs: number
  /** Slots in hand, by rising time. */
  slots: number[]
  /** Those who wait for one, in order. */
  waiting: (() => void)[]
  /** How many to draw: doubles while they are used up. */
  burst: number
  /** The next one after those in hand, as far as known. */
  nextMs: number
  /** Not asked for before this. */
  askMs: number
}

export function createMailSlots(parts: MailSlotsParts): MailSlots {
  return new Slots(parts)
}

class Slots implements MailSlots {
  readonly #parts: MailSlotsParts
  readonly #lines = new Map<string, Line>()
  #isDrawing = false
  #timer: NodeJS.Timeout | undefined
  #isStopped = false

  constructor(parts: MailSlotsParts) {
    this.#parts = parts
  }

  take(scopeKey: string, mailsPerSecond: number): Promise<void> | null {
    const line = this.#lineOf(scopeKey, 1_000 / (mailsPerSecond * margin))
    const slot = line.waiting.length === 0 ? this.#nextSlot(line) : undefined
    if (slot !== undefined && slot <= this.#parts.clock.nowMs()) return null
    return new Promise<void>((resolve) => {
      if (slot === undefined) {
        // Idle for a while: no reason to hold more than what is asked for.
        if (line.nextMs < this.#parts.clock.nowMs() - chunkMs) line.burst = 1
        line.waiting.push(resolve)
        this.#draw()
      } else {
        this.#serve(line, slot, resolve)
      }
    })
  }

  nextAt(scopeKey: string): number {
    const line = this.#lines.get(scopeKey)
    if (line === undefined || line.slots.length > 0) return 0
    // Farther than any line reaches: the clock was set back since.
    const farthestMs = this.#parts.clock.nowMs() + horizonMs + Math.max(chunkMs, line.spacingMs)
    return line.nextMs > farthestMs ? 0 : line.nextMs
  }

  /** Whoever waits goes on waiting: nothing begins after a stop. */
  stop(): void {
    this.#isStopped = true
    clearTimeout(this.#timer)
  }

  #lineOf(scopeKey: string, spacingMs: number): Line {
    let line = this.#lines.get(scopeKey)
    if (line === undefined) {
      line = { scopeKey, spacingMs, slots: [], waiting: [], burst: 1, nextMs: 0, askMs: 0 }
      this.#lines.set(scopeKey, line)
    }
    if (line.spacingMs !== spacingMs) {
      // Another rate: what is in hand was drawn at the old one.
      line.spacingMs = spacingMs
      line.slots = []
      line.burst = 1
      line.askMs = 0
    }
    return line
  }

  #nextSlot(line: Line): number | undefined {
    const oldest = this.#parts.clock.nowMs() - usableForMs
    while (line.slots.length > 0) {
      const slot = line.slots.shift()
      if (slot !== undefined && slot >= oldest) return slot
    }
    return undefined
  }

  /** Lets somebody begin at a slot's time; when this process was too busy to come in time, with a later one. */
  #serve(line: Line, slot: number, resolve: () => void): void {
    const waitMs = slot - this.#parts.clock.nowMs()
    if (waitMs <= 0) {
      resolve()
      return
    }
    setTimeout(() => {
      if (this.#isStopped) return
      if (this.#parts.clock.nowMs() - slot <= usableForMs) {
        resolve()
      } else {
        line.waiting.unshift(resolve)
        this.#draw()
      }
    }, waitMs).unref()
  }

  /** One statement at a time, for all sites that need slots now. */
  #draw(): void {
    if (this.#isDrawing || this.#isStopped) return
    const now = this.#parts.clock.nowMs()
    const needing = [...this.#lines.values()].filter((line) => line.waiting.length > 0)
    const ready = needing.filter((line) => line.askMs <= now || line.askMs > now + askAgainMs)
    clearTimeout(this.#timer)
    if (ready.length === 0) {
      if (needing.length === 0) return
      const firstMs = Math.min(...needing.map((line) => line.askMs))
      this.#timer = setTimeout(() => this.#draw(), firstMs - now).unref()
      return
    }
    this.#isDrawing = true
    void this.#drawFor(ready).finally(() => {
      this.#isDrawing = false
      this.#draw()
    })
  }

  async #drawFor(lines: readonly Line[]): Promise<void> {
    const requests = lines.map((line): SlotRequest => {
      const most = Math.max(1, Math.floor(chunkMs / line.spacingMs))
      const count = Math.min(most, Math.max(line.waiting.length, line.burst))
      return { scopeKey: line.scopeKey, count, spacingMs: line.spacingMs }
    })
    try {
      const answers = await drawSlots(this.#parts.database.engine, requests, horizonMs)
      for (const [index, line] of lines.entries()) {
        const { spacingMs = 0 } = requests[index] ?? {}
        const answer = answers.get(line.scopeKey)
        if (answer !== undefined && line.spacingMs === spacingMs) this.#hand(line, answer)
      }
    } catch (error) {
      this.#parts.onError(error as Error)
      const again = this.#parts.clock.nowMs() + afterErrorMs
      for (const line of lines) line.askMs = again
    }
  }

  #hand(line: Line, { firstMs, drawn }: { firstMs: number; drawn: number }): void {
    line.nextMs = firstMs + drawn * line.spacingMs
    if (drawn === 0) {
      line.askMs = Math.min(firstMs - horizonMs / 2, this.#parts.clock.nowMs() + askAgainMs)
      return
    }
    line.burst = Math.min(drawn * 2, Math.ceil(chunkMs / line.spacingMs))
    line.slots = Array.from({ length: drawn }, (_, index) => Math.ceil(firstMs + index * line.spacingMs))
    for (let slot = line.slots[0]; slot !== undefined && line.waiting.length > 0; slot = line.slots[0]) {
      line.slots.shift()
      const resolve = line.waiting.shift()
      if (resolve !== undefined) this.#serve(line, slot, resolve)
    }
  }
}
