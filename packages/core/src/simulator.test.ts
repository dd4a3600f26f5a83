import { describe, expect, test } from 'vitest'
import { simulationOf } from './simulator.ts'

const at = (key: string, domain = 'simulator.valija.test') => ({ key, domain })

describe('the simulator', () => {
  test.each(['delivered', 'bounced', 'deferred', 'complained', 'suppressed', 'timeout'])(
    'plays %s, with any label',
    (name) => {
      expect(simulationOf(at(name), false)).toBe(name)
      expect(simulationOf(at(`${name}+order-42`), false)).toBe(name)
    },
  )

  test('never lets mail to its domain leave: an unknown name bounces', () => {
    expect(simulationOf(at('somebody'), false)).toBe('bounced')
    expect(simulationOf(at('constructor'), false)).toBe('bounced')
  })

  test('takes every address of a sandboxed message, and no other of a real one', () => {
    expect(simulationOf(at('ann', 'example.org'), true)).toBe('delivered')
    expect(simulationOf(at('bounced', 'example.org'), true)).toBe('delivered')
    expect(simulationOf(at('bounced', 'sub.simulator.valija.test'), false)).toBeNull()
    expect(simulationOf(at('ann', 'example.org'), false)).toBeNull()
  })
})
