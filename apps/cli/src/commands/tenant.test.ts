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
  expect(() => limitsOf({ queued: 'many' })).toThrow('--limit queued takes a number, not "many".')
  expect(limitsOf({ 'alarms.pause_bulk': 'no' })).toEqual({ alarms: { pause_bulk: false } })
})

test.each(['foo', 'alarms.foo', 'queued.foo', 'toString'])(
  'a limit that there is not, %s, is named, with those that there are',
  (name) => {
    expect(() => limitsOf({ queued: '1', [name]: '3' })).toThrow(
      /^--limit \S+: there is no such limit\. There are queued, requests_per_second, .*, alarms\.minimum_volume\.$/,
    )
    expect(() => limitsOf({ [name]: '3' })).toThrow(`--limit ${name}:`)
  },
)
