import { expect, test } from 'vitest'
import { createEstimate, runSteps, type Step } from './progress.ts'

const step = (key: string, run: () => Promise<void> = async () => undefined): Step => ({
  key,
  name: `round of ${key}`,
  guessS: 10,
  run,
})
const quiet = { say: () => undefined, isStopped: () => false }

test('what ran is expected to take as long again, the rest as guessed at the pace so far', () => {
  const steps = [step('a'), step('b'), step('a'), step('b')]
  const estimate = createEstimate(steps)
  expect(estimate.leftS(0)).toBe(40)
  estimate.took(steps[0]!, 20)
  expect(estimate.leftS(1)).toBe(20 + 20 + 20)
  estimate.took(steps[1]!, 5)
  expect(estimate.leftS(2)).toBe(20 + 5)
})

test('a step that fails is told of, and the others run all the same', async () => {
  const ran: string[] = []
  const fails = step('b', () => Promise.reject(new Error('a mail is missing')))
  const saved: number[] = []
  const failures = await runSteps(
    [step('a', async () => void ran.push('a')), fails, step('c', async () => void ran.push('c'))],
    {
      ...quiet,
      after: async (_, soFar) => void saved.push(soFar.length),
    },
  )
  expect(ran).toEqual(['a', 'c'])
  expect(failures).toEqual([{ name: 'round of b', reason: 'a mail is missing' }])
  expect(saved).toEqual([0, 1, 1])
})

test('a run that is stopped ends after its step, and what that met is no failure', async () => {
  let isStopped = false
  const interrupted = step('a', () => {
    isStopped = true
    return Promise.reject(new Error('the sink ended'))
  })
  const ran: string[] = []
  const steps = [interrupted, step('b', async () => void ran.push('b'))]
  expect(await runSteps(steps, { ...quiet, isStopped: () => isStopped })).toEqual([])
  expect(ran).toEqual([])
})
