/** What one render may use. Beyond these it is refused; what does not heed them loses its thread (thread.ts). */

export const renderLimits = {
  /** Processor time of one render, measured by the thread itself. A template of usual size takes under 1 ms. */
  cpuMs: 250,
  /** Of all renders of one request to a thread, besides the first: for each. */
  cpuMsEach: 10,
  /** What filters, ranges and captures may make in one render, in characters and entries. */
  madeUnits: 4_000_000,
  /** Characters of one value that a filter works on. */
  valueCharacters: 1_000_000,
  /** Characters of one rendered part. */
  outputCharacters: 2_000_000,
  /** Characters of one source, with what is in quotes in its tags. */
  sourceCharacters: 1_000_000,
  /** Characters of a date's format: LiquidJS reads it with an expression that takes the square of its length. */
  dateFormatCharacters: 256,
  /** Lists in one another; variables are at most 20 deep. */
  valueDepth: 25,
  /** Layouts and partials in one another. */
  depth: 10,
  /** Faults that are told of one render. */
  faults: 20,
} as const

/** Why a render ends before its end: it would go on otherwise, as LiquidJS gathers the errors of all tags. */
export class LimitError extends Error {
  override name = 'LimitError'
}

/**
 * Processor time and memory of one render, for LiquidJS, which asks before each tag and each value that it makes. Once over, it
 * stays over.
 */
export class RenderBudget {
  #made = 0
  #untilLook = 1
  #over: LimitError | null = null
  readonly #begin = process.threadCpuUsage()
  readonly #cpuMs: number

  constructor(cpuMs: number) {
    this.#cpuMs = cpuMs
  }

  /** Before each tag: a look at the clock takes 0.5 µs, so only now and then. */
  check(): void {
    if (this.#over !== null) throw this.#over
    if (--this.#untilLook > 0) return
    this.#untilLook = 16
    const { user, system } = process.threadCpuUsage(this.#begin)
    if ((user + system) / 1000 > this.#cpuMs) this.#fail('It takes too long to render. Make it simpler.')
  }

  /** @param units characters or entries that are about to be made */
  use(units: number): void {
    if (this.#over !== null) throw this.#over
    if (units > 0) this.#made += units
    if (this.#made > renderLimits.madeUnits)
      this.#fail('It makes too many or too long values. Make it simpler.')
  }

  /** Over, and nothing of it was kept. */
  get over(): LimitError | null {
    return this.#over
  }

  #fail(message: string): never {
    this.#over = new LimitError(message)
    throw this.#over
  }
}
