import { expect, test } from 'vitest'
import { sayWhatIsMissing } from './missing-things.ts'

test.each([
  [
    '/templates/:id',
    'There is no such template: an id looks like tpl_…; a slug is found by GET /templates?slug=.',
  ],
  [
    '/templates/:id/versions/:number',
    'There is no such template, or it has nothing of this name: an id looks like tpl_…; a slug is found by GET /templates?slug=.',
  ],
  ['/inbox/:id/raw', 'There is no such mail in the inbox: an id looks like inb_…; GET /inbox lists them.'],
  ['/messages/:id', 'There is no such message: an id looks like msg_….'],
])('%s: %s', (route, detail) => {
  expect(sayWhatIsMissing(route)).toBe(detail)
})

test('a path without an id says nothing', () => {
  expect(sayWhatIsMissing('/templates')).toBeUndefined()
  expect(sayWhatIsMissing(undefined)).toBeUndefined()
})
