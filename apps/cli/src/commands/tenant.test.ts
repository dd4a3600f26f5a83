import { expect, test } from 'vitest'
import { changedLimits } from './tenant.ts'

test('limits that are not named stay as they are, none takes one away, and a dot leads into an object', () => {
  const limits = { queued: 5, max_recipients: 3, alarms: { bounce_rate: 0.1, minimum_volume: 7 } }
  const changes = { queued: 'none', max_attachments: '2', 'alarms.bounce_rate': '0.2' }
  expect(changedLimits(limits, changes)).toEqual({
    queued: null,
    max_recipients: 3,
    max_attachments: 2,
    alarms: { bounce_rate: 0.2, minimum_volume: 7 },
  })
  expect(changedLimits({}, { 'alarms.bounce_rate': '1' })).toEqual({ alarms: { bounce_rate: 1 } })
  expect(() => changedLimits({}, { queued: 'many' })).toThrow('--limit takes a number, not "many".')
})
