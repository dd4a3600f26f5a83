/** Which stores are away on purpose, now and lately: a program that cannot start for want of one has not failed. */
import { monotonicMs } from '../bench/program.ts'

export interface Outages {
  begin(): void
  end(): void
  /** Whether something was away at any time since then. */
  since(ms: number): boolean
}

export function createOutages(): Outages {
  let open = 0
  let lastEndMs = Number.NEGATIVE_INFINITY
  return {
    begin: () => {
      open += 1
    },
    end: () => {
      open -= 1
      lastEndMs = monotonicMs()
    },
    since: (ms) => open > 0 || lastEndMs > ms,
  }
}
