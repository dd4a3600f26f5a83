/** Waits that end early when somebody says stop. */

/** Resolves after so many milliseconds, or at once when `stop` is aborted. */
export async function pauseUnless(stop: AbortSignal, ms: number): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  const timer = setTimeout(resolve, ms)
  await firstOf(stop, promise)
  clearTimeout(timer)
}

/** Resolves with `promise`, or as soon as `stop` is aborted. Leaves nothing behind on a signal that lives long. */
export async function firstOf(stop: AbortSignal, promise: Promise<unknown>): Promise<void> {
  if (stop.aborted) return
  const { promise: stopped, resolve } = Promise.withResolvers<void>()
  const onStop = () => resolve()
  stop.addEventListener('abort', onStop, { once: true })
  try {
    await Promise.race([promise, stopped])
  } finally {
    stop.removeEventListener('abort', onStop)
  }
}

/** What the promise comes to, or `stopped` as soon as `stop` is aborted; what becomes of the promise then is nobody's matter. */
export async function unlessStopped<T>(stop: AbortSignal, promise: Promise<T>): Promise<T | 'stopped'> {
  promise.catch(() => undefined)
  let result: { value: T } | undefined
  await firstOf(
    stop,
    promise.then((value) => {
      result = { value }
    }),
  )
  return result === undefined ? 'stopped' : result.value
}
