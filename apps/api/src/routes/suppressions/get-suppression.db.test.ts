/** GET /suppressions/:id. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openTestApi, type TestApi } from '../../open-api.test-support.ts'
import { attempt } from '../../settle.test-support.ts'
import { expectHidden, expectScope } from '../keys/refusals.test-support.ts'
import { suppressionEvents } from './suppressions.test-support.ts'

let api: TestApi
beforeAll(async () => {
  api = await openTestApi()
})
afterAll(() => api.close())

test('200: a mailbox that does not exist, with the message and the reply that told so', async () => {
  const { id, recipients } = await api.send({ to: 'gone@example.test', tags: ['welcome'] })
  await attempt(api, recipients[0]!.id, 550, '5.1.1', 'no such user')
  const [listed] = (await api.ask('GET', '/suppressions?email=gone@example.test')).json().data
  const answer = await api.ask('GET', `/suppressions/${listed.id}`)
  expect(answer.json()).toEqual(listed)
  expect(listed).toMatchObject({
    email: 'gone@example.test',
    stream: null,
    reason: 'mailbox_unknown',
    status: 'active',
    message_id: id,
    reply: '550 5.1.1 no such user',
  })
  expect(await suppressionEvents(api, 'gone@example.test')).toEqual([
    {
      type: 'suppression.added',
      suppression_id: listed.id,
      email: 'gone@example.test',
      stream: null,
      reason: 'mailbox_unknown',
      message_id: id,
      recipient_id: recipients[0]!.id,
      reply: '550 5.1.1 no such user',
      domain: 'acme.test',
      tags: ['welcome'],
    },
  ])
})

test('401 and 403 without a key that has the scope read', () =>
  expectScope(api, 'GET', '/suppressions/sup_x', 'read'))

test('404 hides other tenants’ entries', async () => {
  const { key } = api.stranger
  const { id } = (await api.ask('POST', '/suppressions', { key, body: { email: 'b@example.test' } })).json()
  await expectHidden(api, 'GET', (given) => `/suppressions/${given}`, id)
})
