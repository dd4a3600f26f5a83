import { describe, expect, test } from 'vitest'
import {
  apply,
  isEnd,
  messageStatus,
  type RecipientEvent,
  recipientStates,
  shownState,
} from './recipient-state.ts'

describe('a recipient', () => {
  const events: RecipientEvent[] = [
    'due',
    'deliver',
    'defer',
    'bounce',
    'fail',
    'cancel',
    'suppress',
    'reschedule',
  ]

  test('never leaves its end, except that a delivered one can bounce later', () => {
    const ways = recipientStates
      .filter(isEnd)
      .flatMap((state) => events.flatMap((event) => (apply(state, event) ? [`${state} ${event}`] : [])))
    expect(ways).toEqual(['delivered bounce'])
  })

  test('that is being sent is not cancelled nor moved', () => {
    expect(apply('sending', 'cancel')).toBeNull()
    expect(apply('sending', 'reschedule')).toBeNull()
  })

  test('is shown as sending only while a worker holds a live one', () => {
    expect(shownState('queued', true)).toBe('sending')
    expect(shownState('deferred', true)).toBe('sending')
    expect(shownState('delivered', true)).toBe('delivered')
    expect(shownState('queued', false)).toBe('queued')
  })
})

describe('a message', () => {
  test.each([
    [['sending', 'queued', 'delivered'], 'sending'],
    [['scheduled', 'deferred', 'queued'], 'queued'],
    [['deferred', 'bounced'], 'deferred'],
    [['scheduled', 'cancelled'], 'scheduled'],
    [['delivered', 'delivered'], 'delivered'],
    [['delivered', 'bounced'], 'partially_delivered'],
    [['failed', 'bounced'], 'bounced'],
    [['cancelled', 'suppressed'], 'suppressed'],
    [['suppressed', 'failed'], 'failed'],
    [['cancelled'], 'cancelled'],
  ] as const)('with recipients %j is %s', (states, expected) => {
    expect(messageStatus(states)).toBe(expected)
  })

  test('without recipients does not exist', () => {
    expect(() => messageStatus([])).toThrow(RangeError)
  })
})
