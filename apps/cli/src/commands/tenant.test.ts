import { expect, test } from 'vitest'
import { limitsOf } from './tenant.ts'

test('only the limits that are named are changed, none takes one away, and a dot leads into an object', () => {
  const changes = {
    queued: 'none',
    max_attachments: '2',
    'alarms.bounce_rate': '0.2',
    'alarms.minimum_volume': 'none',
  }
  expect(limitsOf(changes)).toEqual({
    queued: null,
    max_attachments: 2,
    alarms: { bounce_rate: 0.2, minimum_volume: null },
  })
  expect(() => limitsOf({ queued: 'many' })).toThrow('--limit takes a number, not "many".')
})
