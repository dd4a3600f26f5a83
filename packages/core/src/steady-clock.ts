/**
 * A clock for pauses and deadlines within this process: it reads like `Date.now()`, and goes on evenly when somebody sets the
 * machine's clock. With `Date.now()` itself, an hour back would make every pause an hour longer.
 *
 * Not for what is shown or leaves the process: it does not learn of a correction.
 */
export const steadyNowMs = (): number => performance.timeOrigin + performance.now()
