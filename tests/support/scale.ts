/**
 * How large a test is. What is promised is measured by its long form, `npm run soak -- <name>` (SCALE=1); with all other tests
 * runs the short one, which goes the same way with less of everything.
 */

const scale = Number(process.env.SCALE ?? '0.01')
if (!(scale > 0 && scale <= 1))
  throw new Error(`SCALE must be over 0 and at most 1, not ${process.env.SCALE}`)

const hourMs = 3_600_000

/** The long form, or nearly. */
export const isLong = scale > 0.1

/** So many of something: `full` in the long form, a share of it in a shorter one, but never fewer than `atLeast`. */
export function scaled(full: number, atLeast: number): number {
  return Math.max(atLeast, Math.round(full * scale))
}

/** Time for a test: `shortMs` in the short form; what takes over an hour in the long one hangs. */
export function timeFor(shortMs: number): number {
  return isLong ? hourMs : shortMs
}
