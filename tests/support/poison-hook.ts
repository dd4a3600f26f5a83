/**
 * Makes poison messages: loaded into a worker by NODE_OPTIONS, it puts into mail/compose.ts what a fault there would do with some
 * mail. Subjects that hold `poison: kills` end the process as a fault of the runtime does, by SIGABRT; `poison: hangs` never returns.
 */
import { registerHooks } from 'node:module'

const original = 'export function compose('
const poisoned = (source: string): string => `${source.replace(original, 'function composeReally(')}
import { writeSync } from 'node:fs'
export function compose(composition: Composition): Buffer {
  if (composition.subject.includes('poison: kills')) process.abort()
  if (composition.subject.includes('poison: hangs')) {
    writeSync(1, 'poison: the loop stands still\\n')
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)
  }
  return composeReally(composition)
}
`

registerHooks({
  load: (url, context, nextLoad) => {
    const loaded = nextLoad(url, context)
    if (!url.endsWith('/packages/mail/src/compose.ts')) return loaded
    const source = String(loaded.source)
    if (!source.includes(original)) throw new Error('mail/compose.ts has no function to poison')
    return { ...loaded, source: poisoned(source) }
  },
})
