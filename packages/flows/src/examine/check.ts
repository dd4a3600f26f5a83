/**
 * What one look at the installation came to: what was seen and, where something is wrong, how to mend it.
 */

export interface Check {
  /** Of a fixed list, for programs: `database`, `resolver`. */
  name: string
  /** Which of several was looked at (an address, a server, a folder); null when there is only one. */
  subject: string | null
  status: 'ok' | 'warning' | 'failed' | 'skipped'
  /** What was seen, or why there was nothing to look at. */
  detail: string
  /** How to mend it; null when nothing is wrong. */
  fix: string | null
}

export interface CheckMaker {
  ok(detail: string): Check
  warning(detail: string, fix: string): Check
  failed(detail: string, fix: string): Check
  skipped(why: string): Check
}

/** Makes the results of one look: `checkOf('disk', folder).ok('12 GiB are free')`. */
export function checkOf(name: string, subject: string | null = null): CheckMaker {
  return {
    ok: (detail) => ({ name, subject, status: 'ok', detail, fix: null }),
    warning: (detail, fix) => ({ name, subject, status: 'warning', detail, fix }),
    failed: (detail, fix) => ({ name, subject, status: 'failed', detail, fix }),
    skipped: (why) => ({ name, subject, status: 'skipped', detail: why, fix: null }),
  }
}

/** A whole examination takes under half a minute: this for each part of it, and they run side by side. */
const deadlineMs = 27_000

/**
 * Runs one part of an examination. It never rejects and never takes longer than its deadline, whatever the part does.
 *
 * @param name of the check that tells of it then
 */
export async function examined(
  name: string,
  work: () => Promise<readonly Check[]>,
  limitMs = deadlineMs,
): Promise<readonly Check[]> {
  const { promise: late, resolve } = Promise.withResolvers<readonly Check[]>()
  const timer = setTimeout(() => {
    const fix =
      'Something that it asks neither answers nor refuses: look at the network to it, and run this again.'
    resolve([checkOf(name).failed(`no result within ${limitMs / 1000} s`, fix)])
  }, limitMs)
  try {
    return await Promise.race([work(), late])
  } catch (error) {
    const fix = 'This is a fault of the examination itself: please report it with this line.'
    return [checkOf(name).failed(`could not be looked at: ${messageOf(error)}`, fix)]
  } finally {
    clearTimeout(timer)
  }
}

export function messageOf(error: unknown): string {
  if (error instanceof AggregateError && error.message === '') return messageOf(error.errors[0])
  return error instanceof Error ? error.message || error.name : String(error)
}

/** `3.2 GiB`. */
export function sizeText(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
  const step = Math.min(units.length - 1, Math.floor(Math.log2(Math.max(1, bytes)) / 10))
  const amount = bytes / 2 ** (10 * step)
  return `${amount < 10 && step > 0 ? amount.toFixed(1) : Math.round(amount)} ${units[step]}`
}

/** `90 s`, `5 min`, `3 h`, `2 d`: whole, so that it is quickly read. */
export function durationText(ms: number): string {
  const s = ms / 1000
  if (s < 1) return `${Math.round(ms)} ms`
  if (s < 120) return `${Math.round(s)} s`
  if (s < 7_200) return `${Math.round(s / 60)} min`
  return s < 172_800 ? `${Math.round(s / 3_600)} h` : `${Math.round(s / 86_400)} d`
}
