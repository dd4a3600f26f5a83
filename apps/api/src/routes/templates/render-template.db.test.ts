/** POST /templates/:id/render. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openTestApi, type TestApi } from '../../open-api.test-support.ts'
import { expectFault, expectHidden, expectScope } from '../keys/refusals.test-support.ts'
import { templatesOf } from './templates.test-support.ts'

let api: TestApi
beforeAll(async () => {
  api = await openTestApi()
})
afterAll(() => api.close())

const render = (id: string, body: object) => api.ask('POST', `/templates/${id}/render`, { body })

describe('200', () => {
  test('the newest version, published or not, or the one that is named', async () => {
    const { id } = await templatesOf(api).make('a')
    await api.ask('PATCH', `/templates/${id}`, { body: { text: null, html: '<p>Hi <b>{{ name }}</b></p>' } })
    const variables = { name: 'A&B', extra: 1 }
    expect((await render(id, { variables })).json()).toEqual({
      version: 2,
      subject: 'Hello A&B',
      text: 'Hi A&B',
      html: '<p>Hi <b>A&amp;B</b></p>',
      warnings: [{ code: 'variable_unused', message: 'Nothing in it asked for extra.' }],
    })
    expect((await render(id, { variables, version: 1 })).json()).toMatchObject({ version: 1, html: null })
  })

  test('with layout and partial of the tenant as they are published now', async () => {
    const { make, part } = templatesOf(api)
    await templatesOf(api, api.stranger.key).part('partial', 'foot', 'theirs')
    await part('layout', 'base', "<body>{% block main %}{% endblock %}{% render 'foot' %}</body>").catch(
      () => null,
    )
    const foot = await part('partial', 'foot', 'mine')
    await part('layout', 'base', "<body>{% block main %}{% endblock %}{% render 'foot' %}</body>")
    const html = "{% layout 'base' %}{% block main %}{{ name }}{% endblock %}"
    const { id } = await make('b', { text: undefined, html })
    const htmlOf = async () => (await render(id, { variables: { name: 'Ann' } })).json().html
    expect(await htmlOf()).toBe('<body>Annmine</body>')
    await api.ask('PATCH', `/templates/${foot.id}`, { body: { html: 'newer' } })
    expect(await htmlOf()).toBe('<body>Annmine</body>')
    await api.ask('POST', `/templates/${foot.id}/publish`, { body: {} })
    expect(await htmlOf()).toBe('<body>Annnewer</body>')
    expect((await render(foot.id, {})).json()).toMatchObject({ subject: null, html: 'newer' })
  })
})

describe('400', () => {
  test('names what is missing, with the line', async () => {
    const { id } = await templatesOf(api).make('c', { html: 'a\n{{ user.mail }}' })
    expect((await render(id, { variables: { user: {} } })).json().errors).toEqual([
      {
        path: '/variables/name',
        message:
          'Line 1 of subject uses name, and it is not given. Give it, or have the template do without: {{ name | default: "…" }}.',
      },
      { path: '/variables/user/mail', message: expect.stringContaining('Line 2 of html uses user.mail') },
    ])
  })

  test('names what does not fit what is declared', async () => {
    const { id } = await templatesOf(api).make('d', {
      variables: [
        { name: 'name', type: 'string' },
        { name: 'due', type: 'date', default: '2026-01-31' },
      ],
    })
    const answer = await render(id, { variables: { nmae: 'x', due: 'soon' } })
    const paths = answer.json().errors.map(({ path }: { path: string }) => path)
    expect(paths).toEqual(['/variables/name', '/variables/due', '/variables/nmae'])
  })

  test('for a version that is not there, and for fields that are none', async () => {
    const { id } = await templatesOf(api).make('e')
    await expectFault(api, 'POST', `/templates/${id}/render`, { version: 9 }, '/version')
    await expectFault(api, 'POST', `/templates/${id}/render`, { vars: {} }, '/vars')
  })

  test('for one that does not end', async () => {
    const html =
      '{% for i in (1..4000) %}{% for j in (1..900) %}{% if j > i %}{% endif %}{% endfor %}{% endfor %}'
    const { id } = await templatesOf(api).make('f', { html })
    expect((await render(id, { variables: { name: 'x' } })).json()).toMatchObject({
      status: 400,
      detail: expect.stringContaining('too long to render'),
    })
  })
})

test('401 and 403 without a key that has the scope manage', () =>
  expectScope(api, 'POST', '/templates/tpl_x/render', 'manage', {}))

test('404 hides other tenants’ templates', async () => {
  const { id } = await templatesOf(api, api.stranger.key).make('theirs')
  await expectHidden(api, 'POST', (given) => `/templates/${given}/render`, id, {})
})
