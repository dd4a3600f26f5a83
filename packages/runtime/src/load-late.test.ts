import { expect, test } from 'vitest'
import type { StopStep } from './lifecycle.ts'
import { loadLate } from './load-late.ts'

function world() {
  const steps: StopStep[] = []
  const told: unknown[] = []
  const parts = {
    life: { onStop: (step: StopStep) => void steps.push(step) },
    log: { warn: (fields: { what: string }) => void told.push(fields.what) },
  } as unknown as Parameters<typeof loadLate>[0]
  return { parts, told, stop: async () => Promise.all(steps.map(({ stop }) => stop())) }
}

test('all is loaded by itself; what fails is told by name and keeps no other from its turn', async () => {
  const { parts, told } = world()
  const done = Promise.withResolvers<string>()
  const loads = [
    { name: 'gone', load: () => Promise.reject(new Error('no such file')) },
    { name: 'there', load: async () => done.resolve('loaded') },
  ]
  loadLate(parts, loads, 0)
  expect(await done.promise).toBe('loaded')
  expect(told).toEqual(['gone'])
})

test('a stop waits for what is being loaded, and nothing is loaded after it', async () => {
  const { parts, stop } = world()
  const [began, end] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  const loaded: string[] = []
  const first = async () => {
    began.resolve()
    await end.promise
    loaded.push('first')
  }
  loadLate(
    parts,
    [
      { name: 'first', load: first },
      { name: 'second', load: async () => loaded.push('second') },
    ],
    0,
  )
  await began.promise
  const stopped = stop()
  end.resolve()
  await stopped
  expect(loaded).toEqual(['first'])
})
