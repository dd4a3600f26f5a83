import { describe, expect, test } from 'vitest'
import { compileTemplate, inspectTemplate } from './compile-template.ts'
import type { TemplateSource } from './render-job.ts'

const source = (more: Partial<TemplateSource>): TemplateSource => ({
  ...{ kind: 'template', slug: 'welcome', subject: null, text: null, html: null },
  ...more,
})
const partial = (slug: string, html: string, text: string | null = null) =>
  source({ kind: 'partial', slug, html, text })
const layout = (slug: string, html: string) => source({ kind: 'layout', slug, html })

function render(
  root: Partial<TemplateSource>,
  variables: Record<string, unknown> = {},
  parts: TemplateSource[] = [],
) {
  return compileTemplate({ key: 'k', root: source(root), parts }).render(variables, 250)
}
const htmlOf = (html: string, variables: Record<string, unknown> = {}, parts: TemplateSource[] = []) => {
  const outcome = render({ html }, variables, parts)
  return outcome.kind === 'rendered' ? outcome.rendering.html : outcome.faults
}
const messagesOf = (html: string, variables: Record<string, unknown> = {}, parts: TemplateSource[] = []) => {
  const outcome = render({ html }, variables, parts)
  return outcome.kind === 'rendered' ? null : outcome.faults.map(({ message }) => message)
}

describe('what is rendered', () => {
  test('variables are escaped in html, and in subject and text they are not', () => {
    const outcome = render(
      { subject: 'For {{ name }}', text: '{{ name }}', html: '<p>{{ name }}</p>' },
      { name: 'A & <b>' },
    )
    expect(outcome).toEqual({
      kind: 'rendered',
      rendering: {
        ...{ subject: 'For A & <b>', text: 'A & <b>', html: '<p>A &amp; &lt;b&gt;</p>' },
        ...{ inSubject: ['name'], unused: [] },
      },
    })
  })

  test.each([
    ['{{ v | escape }}', '&lt;b&gt;\n&amp;'],
    ['{{ v | raw }}', '<b>\n&'],
    ['{{ v | newline_to_br }}', '&lt;b&gt;<br />\n&amp;'],
    ['{{ v | escape | newline_to_br }}', '&lt;b&gt;<br />\n&amp;'],
    ['{{ v | strip_html }}', '\n&amp;'],
    ['{{ v | upcase }}', '&lt;B&gt;\n&amp;'],
  ])('%s is escaped once, or as it says', (html, expected) =>
    expect(htmlOf(html, { v: '<b>\n&' })).toBe(expected),
  )

  test.each([
    ['a <b>c</b>', 'a c'],
    ['a < b', 'a < b'],
    ['x<script>y</script>z<style>q</style>', 'xz'],
    ['a<!-- <b> -->c', 'ac'],
    ['İİİİİ<b>xyz</b>end', 'İİİİİxyzend'],
    ['İ<SCRIPT>İ</Script>z<sTyle>q</STYLE>', 'İz'],
    ['<ſcript>y</ſcript>z', 'yz'],
  ])('tags are stripped from %j', (text, expected) =>
    expect(render({ text: '{{ v | strip_html }}' }, { v: text })).toMatchObject({
      rendering: { text: expected },
    }),
  )

  test('text is made from html where there is none', () => {
    const html =
      '<style>p{}</style><h1>Hello</h1><p>Go <a href="https://a.test/x">here</a><br>now</p><img src="x" alt="y">'
    expect(render({ html })).toMatchObject({
      rendering: { text: 'Hello\n\nGo here (https://a.test/x)\nnow' },
    })
  })

  test('times are in UTC, wherever it runs', () =>
    expect(htmlOf('{{ "2026-01-31T23:30:00Z" | date: "%Y-%m-%d %H:%M" }}')).toBe('2026-01-31 23:30'))

  test('a layout with blocks, and partials with variables of their own', () => {
    const parts = [
      layout('base', '<body>{% block main %}usual{% endblock %}{% include "foot" %}</body>'),
      partial('foot', 'by {{ name }}'),
      partial('row', '<i>{{ row.a }}</i>'),
    ]
    const html =
      "{% layout 'base' %}{% block main %}{% for row in rows %}{% render 'row', row: row %}{% endfor %}{% endblock %}"
    expect(htmlOf(html, { rows: [{ a: 1 }, { a: '<' }], name: 'Q&A' }, parts)).toBe(
      '<body><i>1</i><i>&lt;</i>by Q&amp;A</body>',
    )
    expect(htmlOf("{% layout 'base' %}", { name: '' }, parts)).toBe('<body>usualby </body>')
  })

  test('what was given and not asked for is named', () =>
    expect(render({ text: '{{ a }}' }, { a: 1, b: 2 })).toMatchObject({ rendering: { unused: ['b'] } }))
})

describe('what is missing', () => {
  test('is named all at once, with its line', () => {
    const outcome = render(
      { subject: '{{ user.name }}', html: 'a\n{{ total }}\n{{ total }}{{ user.name }}{{ user.mail.at }}' },
      { user: {} },
    )
    expect(outcome).toMatchObject({
      kind: 'faulty',
      faults: [
        { part: 'subject', line: 1, variable: ['user', 'name'] },
        { part: 'html', line: 2, variable: ['total'] },
        { part: 'html', line: 3, variable: ['user', 'mail'] },
      ],
    })
  })

  test('is named with the partial or layout that asks for it, and the line there', () => {
    const parts = [
      partial('foot', 'x\n\n{{ city }}'),
      layout('base', '\n{% block b %}{% endblock %}{{ year }}'),
    ]
    const outcome = render(
      { html: "{% layout 'base' %}{% block b %}{% render 'foot' %}{{ name }}{% endblock %}" },
      {},
      parts,
    )
    expect(outcome).toMatchObject({
      kind: 'faulty',
      faults: [
        { slug: 'foot', line: 3, variable: ['city'] },
        { slug: 'welcome', line: 1, variable: ['name'] },
        { slug: 'base', line: 2, variable: ['year'] },
      ],
    })
  })

  test('may be asked for in a condition, and have a default', () =>
    expect(htmlOf('{% if a %}x{% endif %}{% unless a.b %}y{% endunless %}{{ a | default: "z" }}')).toBe('yz'))
})

describe('faults of sources', () => {
  test.each([
    ['{{ a | frobnicate }}', 'There is no filter frobnicate.'],
    ['{% frobnicate %}', 'There is no tag frobnicate.'],
    ['{% if a %}', 'Tag {% if a %} not closed.'],
    ["{% render 'none' %}", 'There is no partial "none" with a published version that has html.'],
    ["{% layout 'none' %}", 'There is no layout "none" with a published version that has html.'],
    ['{% render a %}', '"render" must be followed by the slug of a partial in quotes.'],
    ["{% include 'a{{ b }}' %}", '"include" must be followed by the slug of a partial in quotes.'],
    ["{% render '../../../etc/passwd' %}", '"render" must be followed by the slug of a partial in quotes.'],
    ["{% layout '/etc/passwd' %}", '"layout" must be followed by the slug of a layout in quotes.'],
    [
      "{% render 'constructor' %}",
      'There is no partial "constructor" with a published version that has html.',
    ],
    ['{% block constructor %}{% endblock %}', 'A block cannot be named constructor.'],
    ['{% tablerow a in b %}{% endtablerow %}', 'There is no tag tablerow.'],
    ['{{ a | where_exp: "x", "x" }}', 'There is no filter where_exp.'],
    ['{{ a | sample }}', 'There is no filter sample.'],
  ])('%s: %s', (html, message) => expect(messagesOf(html, { a: 1, b: 1 })).toContain(message))

  test('are told of the partial and line where they are', () => {
    const outcome = render({ html: "{% render 'row' %}" }, {}, [partial('row', 'a\nb{% if %}')])
    expect(outcome).toMatchObject({ kind: 'faulty', faults: [{ slug: 'row', part: 'html', line: 2 }] })
  })

  test('a partial without text is none in a text', () => {
    const outcome = render({ text: "{% render 'row' %}" }, {}, [partial('row', 'x')])
    expect(outcome).toMatchObject({
      faults: [{ message: 'There is no partial "row" with a published version that has text.' }],
    })
  })

  test('what uses itself is refused before it is rendered', () => {
    const parts = [partial('a', "{% if b %}{% render 'b' %}{% endif %}"), partial('b', "{% include 'a' %}")]
    expect(messagesOf("{% render 'a' %}", { b: false }, parts)).toEqual(['The partial "a" uses itself.'])
    expect(messagesOf("{% layout 'l' %}", {}, [layout('l', "{% layout 'l' %}")])).toEqual([
      'The layout "l" uses itself.',
    ])
  })

  test('up to ten are in one another', () => {
    const chain = (length: number) =>
      Array.from({ length }, (_, i) => partial(`p${i}`, i + 1 < length ? `{% render 'p${i + 1}' %}` : 'end'))
    expect(htmlOf("{% render 'p0' %}", {}, chain(9))).toBe('end')
    expect(messagesOf("{% render 'p0' %}", {}, chain(11))).toEqual([
      'More than 10 layouts and partials are in one another.',
    ])
  })

  test('an inspection tells what a source uses and expects', () => {
    const html =
      "{% layout 'base' %}{% assign x = a.b %}{{ x }}{% for i in items %}{{ i }}{{ forloop.index }}{% endfor %}"
    expect(inspectTemplate(source({ subject: '{{ a }}', html }))).toEqual({
      faults: [],
      references: [{ slug: 'base', kind: 'layout', part: 'html', line: 1 }],
      variables: [
        { name: 'a', part: 'subject', line: 1 },
        { name: 'items', part: 'html', line: 1 },
      ],
    })
  })
})

describe('nothing of the program can be reached', () => {
  test.each([
    '{{ a.constructor }}',
    '{{ a.__proto__ }}',
    '{{ constructor }}',
    '{{ a.b.toString }}',
    '{% for i in (1..1) %}{{ forloop.constructor }}{% endfor %}',
    '{% for i in (1..1) %}{{ forloop.__proto__.constructor.constructor }}{% endfor %}',
    '{% for i in (1..1) %}{{ forloop.__defineGetter__ }}{% endfor %}',
    '{{ a | map: "constructor" | join }}{{ process }}',
    '{{ globalThis }}{{ process.env }}{{ require }}',
  ])('%s', (html) => expect(render({ html }, { a: { b: 1 } }).kind).toBe('faulty'))

  test('variables may have names of the language’s own properties', () => {
    const variables = JSON.parse(
      '{"constructor":"c","toString":"t","hasOwnProperty":"h","a":{"constructor":"d"}}',
    )
    expect(htmlOf('{{ constructor }}{{ toString }}{{ hasOwnProperty }}{{ a.constructor }}', variables)).toBe(
      'cthd',
    )
  })
})

describe('what is too much is refused', () => {
  const doubled = (how: string) =>
    `{% assign a = "xxxxxxxxxx" %}{% for i in (1..60) %}${how}{% endfor %}{{ a }}`
  const long = '{% assign a = "xxxxxxxxxx" %}{% for i in (1..15) %}{% assign a = a | append: a %}{% endfor %}'
  test.each([
    ['a range without end', '{% for i in (1..100000000) %}{% endfor %}', /too many/],
    [
      'loops in loops',
      '{% for i in (1..3000) %}{% for j in (1..3000) %}{{ j }}{% endfor %}{% endfor %}',
      /too long to/,
    ],
    ['text that doubles', doubled('{% assign a = a | append: a %}'), /becomes too long/],
    ['a capture that doubles', doubled('{% capture a %}{{ a }}{{ a }}{% endcapture %}'), /too (many|long)/],
    ['a long result', `{% for i in (1..9000) %}${'x'.repeat(320)}{% endfor %}`, /more than 2,000,000/],
    ['a replacement that multiplies', `${long}{{ a | replace: "x", a }}`, /too many/],
    [
      'a long text in a long list',
      `${long}{% assign l = a | split: "|" %}{% for i in (1..12) %}{% assign l = l | concat: l %}{% endfor %}{{ l }}`,
      /becomes too long/,
    ],
    ['a date as wide as a house', '{{ "now" | date: "%99999999999d" }}', /too many/],
    ['a format that takes for ever to read', `{{ "now" | date: "%${'0'.repeat(300)}" }}`, /too long/],
    ['tags in tags in tags', '{% if 1 %}'.repeat(3_000), /nested too deeply/],
  ])('%s', (_, html, message) => expect(messagesOf(html)?.[0]).toMatch(message))

  test('and takes the time of the others of its slice from none', () => {
    const { render: again } = compileTemplate({ key: 'k', root: source({ html: '{{ a }}' }), parts: [] })
    expect(again({ a: 1 }, 250)).toMatchObject({ rendering: { html: '1' } })
    expect(again({}, 250)).toMatchObject({ kind: 'faulty' })
    expect(again({ a: 2 }, 250)).toMatchObject({ rendering: { html: '2' } })
  })
})
