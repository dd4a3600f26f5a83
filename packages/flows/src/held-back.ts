/** Counts rows that were more than their site may keep: they come and go, and too many of them keep others waiting. */

/**
 * More rows than these a second that were more than their site may keep: the next hint is taken so much later. They come and go,
 * however many wait, and others' mail is late by this at most.
 */
export const excess = { rowsPerSecond: 250, pauseMs: 500 }

export class HeldBack {
  rows = 0
  #since = { rows: 0, atMs: performance.now() }

  add(rows: number): void {
    if (performance.now() - this.#since.atMs >= 1_000) {
      this.#since = { rows: this.rows, atMs: performance.now() }
    }
    this.rows += rows
  }

  /** There were too many of them in the second of the last. */
  get isOver(): boolean {
    return this.rows - this.#since.rows > excess.rowsPerSecond
  }
}
