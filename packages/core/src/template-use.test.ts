import { describe, expect, test } from 'vitest'
import { findContentFaults, findLabelFaults } from './template-input.ts'
import { findBesideTemplateFaults, findRenderedFaults } from './template-use.ts'

const rendered = { subject: 'Hello', text: 'x', html: null, inSubject: ['name', 'user'] }

describe('what was rendered', () => {
  test('may be sent', () => expect(findRenderedFaults(rendered, { name: 'a' })).toEqual([]))

  test('a line break in the subject is told at the variable that brings it', () => {
    const given = { name: 'Ann\r\nBcc: eve@x.test', user: { lines: ['a', 'b\n'] }, other: '\n' }
    const subject = `Hello ${given.name}`
    expect(findRenderedFaults({ ...rendered, subject }, given)).toEqual([
      {
        path: '/variables/name',
        message: expect.stringContaining('Goes into the subject. Holds the control character U+000D'),
      },
      { path: '/variables/user', message: expect.stringContaining('U+000D') },
    ])
  })

  test('or at the template, where it is its own', () =>
    expect(findRenderedFaults({ ...rendered, subject: 'a\nb' }, {})).toMatchObject([{ path: '' }]))

  test('halves of characters and U+0000 are refused', () => {
    expect(findRenderedFaults({ ...rendered, text: 'a\0' }, {})).toMatchObject([{ path: '' }])
    expect(findRenderedFaults({ ...rendered, html: '\ud83d' }, {})).toMatchObject([{ path: '' }])
  })
})

test('text, html and raw do not stand beside a template; a subject does', () => {
  const message = { from: 'a@b.test', template: { slug: 'x' }, subject: 's', text: 't', html: 'h', raw: 'r' }
  expect(findBesideTemplateFaults(message).map(({ path }) => path)).toEqual(['/text', '/html', '/raw'])
})

describe('a template', () => {
  const content = { subject: 's', text: 't', html: null, variables: [] }
  const pathsOf = (kind: 'template' | 'layout' | 'partial', more: object) =>
    findContentFaults(kind, { ...content, ...more }).map(({ path }) => path)

  test('has a subject and text or html; layouts and partials have no subject and no variables', () => {
    expect(pathsOf('template', {})).toEqual([])
    expect(pathsOf('template', { subject: null, text: null })).toEqual(['/subject', '/text'])
    expect(pathsOf('partial', { subject: null })).toEqual([])
    expect(pathsOf('layout', { variables: [{ name: 'a', type: 'string' }] })).toEqual([
      '/subject',
      '/variables',
    ])
  })

  test('has 512 KiB of text and html at most', () => {
    expect(pathsOf('template', { text: 'x', html: 'x'.repeat(524_287) })).toEqual([])
    expect(pathsOf('template', { text: 'x', html: 'x'.repeat(524_288) })).toEqual(['/html'])
    expect(pathsOf('template', { subject: 'x'.repeat(2_001) })).toEqual(['/subject'])
    expect(pathsOf('template', { text: 'a\0b' })).toEqual(['/text'])
  })

  test.each(['', 'A', 'a b', '-a', 'a/b', '../a', 'a'.repeat(65), '__proto__'])(
    'has no slug like %j',
    (slug) => expect(findLabelFaults({ slug })).toMatchObject([{ path: '/slug' }]),
  )
  test.each(['a', '4711', 'order_receipt-2', 'constructor'])('may have the slug %s', (slug) =>
    expect(findLabelFaults({ slug, name: 'n' })).toEqual([]),
  )
})
