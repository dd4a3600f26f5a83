import { afterEach, beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import type { TemplateBundle, TemplateSource } from './render-job.ts'
import { createRenderer, type TemplateRenderer } from './renderer.ts'
import { startThread } from './thread.ts'

const source = (html: string): TemplateSource => ({
  ...{ kind: 'template', slug: 't', subject: 'Hello', text: 'Hello', html },
})
let made = 0
const bundle = (html: string): TemplateBundle => ({ key: `bundle ${++made}`, root: source(html), parts: [] })

/** Refuses itself: within its own limits. */
const greedy = () => bundle('{% for i in (1..3000) %}{% for j in (1..3000) %}{{ j }}{% endfor %}{% endfor %}')
/** Asks for nobody's leave: reading it alone takes seconds. */
const endless = () => bundle('{{ a.b }}'.repeat(110_000))

/** Twenty, of every kind. */
const hostile = () => [
  ...[endless(), endless(), greedy(), greedy()],
  ...Array.from({ length: 4 }, () => [
    bundle('{% for i in (1..100000000) %}{% endfor %}'),
    bundle(
      '{% assign a = "x" %}{% for i in (1..90) %}{% capture a %}{{ a }}{{ a }}{% endcapture %}{% endfor %}',
    ),
    bundle('{% for i in (1..90000) %}xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx{% endfor %}'),
    bundle('{% if 1 %}'.repeat(2_000)),
  ]).flat(),
]

let renderer: TemplateRenderer
let ended: { tenantId: string; why: string }[]
beforeEach(() => {
  ended = []
  renderer = createRenderer({ onKill: (tenantId, why) => ended.push({ tenantId, why }) })
})
afterEach(() => renderer.close())

describe('renders', () => {
  test('one template with many variables, each with its outcome in order', async () => {
    const items = Array.from({ length: 1_000 }, (_, i) => (i === 500 ? {} : { name: `n${i}` }))
    const outcomes = await renderer.render('a', bundle('{{ name }}'), items)
    expect(outcomes).toHaveLength(1_000)
    outcomes.forEach((outcome, i) => {
      if (i === 500) expect(outcome).toMatchObject({ kind: 'faulty', faults: [{ variable: ['name'] }] })
      else expect(outcome).toMatchObject({ rendering: { html: `n${i}` } })
    })
  })

  test('what is known by one key is parsed once', async () => {
    const first = bundle('first {{ a }}')
    expect(await renderer.render('a', first, [{ a: 1 }])).toMatchObject([{ rendering: { html: 'first 1' } }])
    // Never done: it would show that sources are not looked at again.
    const other = { ...bundle('other {{ a }}'), key: first.key }
    expect(await renderer.render('a', other, [{ a: 2 }])).toMatchObject([{ rendering: { html: 'first 2' } }])
  })

  test('nothing after it was closed', async () => {
    await renderer.close()
    await expect(renderer.render('a', bundle('x'), [{}])).rejects.toMatchObject({ code: 'overloaded' })
  })
})

describe('a template that does not end', () => {
  test('loses its thread, and only it', async () => {
    const [bad, good] = await Promise.all([
      renderer.render('bad', endless(), [{ a: { b: 1 } }]),
      renderer.render('good', bundle('{{ a }}'), [{ a: 1 }]),
    ])
    expect(bad).toMatchObject([
      { kind: 'faulty', faults: [{ message: expect.stringContaining('too long to render') }] },
    ])
    expect(good).toMatchObject([{ rendering: { html: '1' } }])
    expect(ended).toEqual([{ tenantId: 'bad', why: 'slow' }])
    expect(await renderer.render('bad', bundle('{{ a }}'), [{ a: 1 }])).toMatchObject([
      { rendering: { html: '1' } },
    ])
  })

  test('twenty of one tenant leave another tenant’s renders their thread', async () => {
    const mine = bundle('{{ a }}')
    await renderer.render('good', mine, [{ a: 0 }])
    let isOver = false
    const bad = Promise.all(
      hostile().map((one) => renderer.render('bad', one, [{ a: { b: 1 } }]).catch((error: Error) => error)),
    ).finally(() => {
      isOver = true
    })
    let meanwhile = 0
    while (!isOver) {
      expect(await renderer.render('good', mine, [{ a: meanwhile }])).toMatchObject([
        { rendering: { html: `${meanwhile}` } },
      ])
      meanwhile += 1
    }
    for (const outcome of await bad) {
      // On a busy machine the last of them have waited too long.
      if (outcome instanceof Error) expect(outcome).toMatchObject({ code: 'overloaded' })
      else expect(outcome).toMatchObject([{ kind: 'faulty' }])
    }
    expect(new Set(ended.map(({ tenantId }) => tenantId))).toEqual(new Set(['bad']))
    // In one line with them it would have had a turn for each of theirs.
    expect(meanwhile).toBeGreaterThan(100)
  })

  test('of several tenants share one thread from the second time on', async () => {
    const tenants = ['bad1', 'bad2']
    await Promise.all(tenants.map((tenant) => renderer.render(tenant, endless(), [{ a: { b: 1 } }])))
    const mine = bundle('{{ a }}')
    let isOver = false
    const bad = Promise.all(tenants.map((tenant) => renderer.render(tenant, greedy(), [{}]))).finally(() => {
      isOver = true
    })
    let meanwhile = 0
    while (!isOver) {
      await renderer.render('good', mine, [{ a: 1 }])
      meanwhile += 1
    }
    await bad
    expect(meanwhile).toBeGreaterThan(20)
  })
})

describe('memory', () => {
  const one = { a: 1 }
  const faulty = { kind: 'faulty', faults: [{ message: expect.stringContaining('too much memory') }] }

  test('of a thread is not filled by what others rendered in it', async () => {
    const single = createRenderer({ threads: 1, onKill: (tenantId, why) => ended.push({ tenantId, why }) })
    onTestFinished(() => single.close())
    for (let i = 0; i < 50; i++) await single.render(`t${i % 3}`, bundle('{{a}}'.repeat(2_500)), [one])
    expect(await single.render('other', bundle('{{ a }}'), [one])).toMatchObject([
      { rendering: { html: '1' } },
    ])
    expect(ended).toEqual([])
  })

  test('that was full once is nobody’s fault; twice, in a thread of its own, is the template’s', async () => {
    let left = 1
    let started = 0
    const start: typeof startThread = (events) => {
      started += 1
      let isFull = false
      const thread = startThread({
        ...events,
        onEnd: (why, error) => events.onEnd(isFull ? 'memory' : why, error),
      })
      const ask: typeof thread.ask = (request) => {
        isFull = left-- > 0
        if (isFull) void thread.end()
        else thread.ask(request)
      }
      return { ...thread, ask }
    }
    const pool = createRenderer({ start, onKill: (tenantId, why) => ended.push({ tenantId, why }) })
    onTestFinished(() => pool.close())
    expect(await pool.render('a', bundle('{{ a }}'), [one])).toMatchObject([{ rendering: { html: '1' } }])
    expect({ ended, started }).toEqual({ ended: [], started: 2 })
    left = 2
    expect(await pool.render('a', bundle('{{ a }}'), [one])).toMatchObject([faulty])
    expect(ended).toEqual([{ tenantId: 'a', why: 'memory' }])
    expect(await pool.render('a', bundle('{{ a }}'), [one])).toMatchObject([{ rendering: { html: '1' } }])
  })
})

test('a tenant has a hundred requests waiting at most; others are let in', async () => {
  const mine = bundle('{{ a }}')
  const asked = Array.from({ length: 120 }, () =>
    renderer.render('many', mine, [{ a: 1 }]).catch((error) => error),
  )
  const other = renderer.render('other', mine, [{ a: 2 }])
  const refused = (await Promise.all(asked)).filter((answer) => answer instanceof Error)
  expect(refused.length).toBeGreaterThan(0)
  for (const error of refused) expect(error).toMatchObject({ code: 'rate_limited', retryAfterS: 1 })
  expect(await other).toMatchObject([{ rendering: { html: '2' } }])
})
