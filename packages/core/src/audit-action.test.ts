import { expect, test } from 'vitest'
import { auditAction, countOfUnwritten } from './audit-action.ts'

test.each([
  ['createWebhook', 'webhook.created'],
  ['updateRouteList', 'route_list.changed'],
  ['rotateWebhookSecret', 'webhook_secret.rotated'],
  ['verifyDomain', 'domain.checked'],
  ['importSuppressions', 'suppressions.imported'],
  ['releaseRestoredMail', 'restored_mail.released'],
])('%s is %s', (operation, action) => {
  expect(auditAction(operation)).toBe(action)
})

test('an operation whose verb has no word is refused when the API is built', () => {
  expect(() => auditAction('frobWebhook')).toThrow(/add its verb/)
})

test.each([
  ['domain.changed', 0],
  ['suppression.created', 0],
  ['webhook.tested', 1],
  ['inbox.cleared', 1],
  ['restored_mail.held', 1],
])('%s that wrote nothing is an entry of %i things', (action, count) => {
  expect(countOfUnwritten(action)).toBe(count)
})
