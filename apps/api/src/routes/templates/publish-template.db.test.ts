/** POST /templates/:id/publish. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { until } from '../../../../../tests/support/until.ts'
import { openTestApi, type TestApi } from '../../open-api.test-support.ts'
import { expectFault, expectHidden, expectScope } from '../keys/refusals.test-support.ts'
import { templatesOf } from './templates.test-support.ts'

let api: TestApi
beforeAll(async () => {
  api = await openTestApi()
})
afterAll(() => api.close())

const publish = (id: string, body: object = {}) => api.ask('POST', `/templates/${id}/publish`, { body })

test('200: the newest version, and back to an earlier one', async () => {
  const { id } = await templatesOf(api).make('a', { publish: false })
  await api.ask('PATCH', `/templates/${id}`, { body: { text: 'two' } })
  expect((await publish(id)).json()).toMatchObject({ version: 2, published_version: 2 })
  expect((await publish(id, { version: 1 })).json()).toMatchObject({
    version: 2,
    published_version: 1,
    text: 'two',
  })
  const { data } = (await api.ask('GET', `/templates/${id}/versions`)).json()
  expect(data.map(({ is_published: is }: { is_published: boolean }) => is)).toEqual([false, true])
})

test('200: without a body, as with {}', async () => {
  const { id } = await templatesOf(api).make('bodiless', { publish: false })
  const answer = await api.ask('POST', `/templates/${id}/publish`)
  expect(answer.json()).toMatchObject({ version: 1, published_version: 1 })
})

describe('400', () => {
  test('for a version that is not there', async () => {
    const { id } = await templatesOf(api).make('b')
    await expectFault(api, 'POST', `/templates/${id}/publish`, { version: 2 }, '/version')
    await expectFault(api, 'POST', `/templates/${id}/publish`, { version: 0 }, '/version')
  })

  test('while a partial of it is not there, or not published', async () => {
    const { make } = templatesOf(api)
    const { id } = await make('c', { html: "{% render 'later' %}", publish: false })
    await expectFault(api, 'POST', `/templates/${id}/publish`, {}, '/html')
    const draft = { kind: 'partial', subject: undefined, text: undefined, html: 'x', publish: false }
    const later = await make('later', draft)
    await expectFault(api, 'POST', `/templates/${id}/publish`, {}, '/html')
    await publish(later.id)
    expect((await publish(id)).statusCode).toBe(200)
  })

  test('of a partial or layout that something could not be sent with any more, itself or through another', async () => {
    const { make, part } = templatesOf(api)
    const foot = await part('partial', 'foot', 'x')
    const base = await part('layout', 'base', "{% block b %}{% endblock %}{% render 'foot' %}")
    const user = { html: "{% layout 'base' %}{% block b %}{% endblock %}", text: undefined }
    const { id } = await make('letter', user)
    const breaking = { html: null, text: 'x', publish: true }
    const answer = await api.ask('PATCH', `/templates/${foot.id}`, { body: breaking })
    expect(answer.json()).toMatchObject({ status: 400 })
    for (const kind of ['layout "base"', 'template "letter"'])
      expect(answer.body.replaceAll('\\"', '"')).toContain(
        `The ${kind} uses it, and could not be sent any more.`,
      )
    expect(answer.body.replaceAll('\\"', '"')).toContain('There is no partial "foot"')
    const draft = await api.ask('PATCH', `/templates/${base.id}`, { body: { ...breaking, publish: false } })
    expect(draft.statusCode).toBe(200)
    expect((await publish(base.id)).json()).toMatchObject({
      status: 400,
      detail: expect.stringContaining('The template "letter" uses it'),
    })
    const body = { variables: { name: 'Ann' } }
    expect((await api.ask('POST', `/templates/${id}/render`, { body })).statusCode).toBe(200)
    const harmless = { html: 'y', publish: true }
    expect((await api.ask('PATCH', `/templates/${foot.id}`, { body: harmless })).statusCode).toBe(200)
  })

  test('for partials that would use each other', async () => {
    const { part } = templatesOf(api)
    const one = await part('partial', 'one', 'x')
    const two = await part('partial', 'two', "{% render 'one' %}")
    const closing = { html: "{% render 'two' %}", publish: true }
    const answer = await api.ask('PATCH', `/templates/${one.id}`, { body: closing })
    expect(answer.json()).toMatchObject({ status: 400, detail: expect.stringContaining('uses itself') })
    expect((await api.ask('POST', `/templates/${two.id}/render`, { body: {} })).statusCode).toBe(200)
  })
})

test('401 and 403 without a key that has the scope manage', () =>
  expectScope(api, 'POST', '/templates/tpl_x/publish', 'manage', {}))

test('404 hides other tenants’ templates', async () => {
  const { id } = await templatesOf(api, api.stranger.key).make('theirs', { publish: false })
  await expectHidden(api, 'POST', (given) => `/templates/${given}/publish`, id, {})
})

test('409 for a publication that a change overtakes', async () => {
  const { id } = await templatesOf(api).make('overtaken', { publish: false })
  let round = 0
  await until('a publication that is overtaken', async () => {
    round += 1
    const [change, ...publications] = await Promise.all([
      api.ask('PATCH', `/templates/${id}`, { body: { text: `later ${round}` } }),
      ...Array.from({ length: 5 }, () => publish(id)),
    ])
    expect([200, 409]).toContain(change.statusCode)
    const statuses = publications.map(({ statusCode }) => statusCode)
    for (const status of statuses) expect([200, 409]).toContain(status)
    const overtaken = publications.find(({ statusCode }) => statusCode === 409)
    if (overtaken)
      expect(overtaken.json()).toMatchObject({
        code: 'conflict',
        detail: expect.stringContaining('meanwhile'),
      })
    return overtaken !== undefined
  })
})
