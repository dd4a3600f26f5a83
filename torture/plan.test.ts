import { expect, test } from 'vitest'
import { readOptions } from './options.ts'
import { isSteady, planFaults } from './plan.ts'

const plan = (...args: string[]) => planFaults(readOptions(['--seed', '7', '--rounds', '40', ...args]))

test('a seed is a plan, with so many kills in every round and each victim as often as the next', () => {
  expect(plan()).toEqual(plan())
  const kills = plan().map((round) => round.filter(({ kind }) => kind === 'kill'))
  expect(kills.every(({ length }) => length === 2)).toBe(true)
  const byVictim = Map.groupBy(kills.flat(), ({ victim }) => victim)
  expect([...byVictim.values()].map(({ length }) => length)).toEqual([20, 20, 20, 20])
})

test('a run without faults breaks nothing', () => {
  expect(plan('--faults', 'none').flat()).toEqual([])
})

test('in a walk kills meet the process that goes on meanwhile, and one of the others is asked to end in every round', () => {
  const faults = plan('--walk').flat()
  const options = { walk: true }
  const ofProcesses = faults.filter(({ victim }) => victim === 'api' || victim === 'worker')
  for (const { kind, slot } of ofProcesses) expect(isSteady(options, slot)).toBe(kind !== 'restart')
  expect(ofProcesses.filter(({ kind }) => kind === 'restart')).toHaveLength(40)
})
