/**
 * The inbox page against hostile mails, without a browser: what its policy lets in, and that its program turns whatever
 * stands in a mail into text. The document here knows only what the program may use: an `innerHTML` would not be there.
 */
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { describe, expect, test, vi } from 'vitest'
import { assemblePage } from './inbox.ts'

const program = await import(new URL('assets/inbox.js', import.meta.url).href)
const source = readFileSync(new URL('assets/inbox.js', import.meta.url), 'utf8')

/** What attackers put into subjects, names and addresses. */
const hostile = [
  '<script>alert(1)</script>',
  '"><img src=x onerror=alert(1)>',
  '</script><svg onload=alert(1)>',
  'javascript:alert(1)',
  '{{constructor.constructor("alert(1)")()}}',
  '\u202egnp.exe',
  '&lt;b&gt;',
  '',
]

type Child = FakeElement | string

/** An element that remembers what was done to it. */
class FakeElement {
  readonly name: string
  readonly attributes = new Map<string, string>()
  readonly children: Child[] = []
  readonly listeners = new Map<string, (event?: unknown) => void>()

  constructor(name: string) {
    this.name = name
  }
  get localName() {
    return this.name
  }
  setAttribute(key: string, value: string) {
    this.attributes.set(key, value)
  }
  getAttribute(key: string) {
    return this.attributes.get(key) ?? null
  }
  removeAttribute(key: string) {
    this.attributes.delete(key)
  }
  append(...children: Child[]) {
    this.children.push(...children)
  }
  addEventListener(type: string, listener: () => void) {
    this.listeners.set(type, listener)
  }
}

// Any property that an element does not have here, such as innerHTML, cannot be set unseen.
const fakeDocument = { createElement: (name: string) => Object.preventExtensions(new FakeElement(name)) }

function descendants(root: FakeElement): FakeElement[] {
  return [root, ...root.children.flatMap((child) => (typeof child === 'string' ? [] : descendants(child)))]
}
const texts = (root: FakeElement) =>
  descendants(root).flatMap((e) => e.children.filter((c) => typeof c === 'string'))

const mailWith = (text: string) => ({
  id: 'inb_1',
  subject: text,
  from: text,
  to: text,
  mail_from: text,
  rcpt_to: [text],
  received_at: '2026-01-02T03:04:05.678Z',
  rfc_message_id: text,
  size_bytes: 1,
  attachments: [{ filename: text, content_type: text, content_id: text, size_bytes: 1 }],
})

const allowedElements = ['li', 'button', 'strong', 'time', 'span', 'h2', 'dl', 'dt', 'dd', 'ol', 'p']

describe.each(hostile)('a mail full of %j', (text) => {
  const mail = mailWith(text)
  const made: FakeElement[] = [
    program.renderEntry(fakeDocument, mail, () => undefined),
    ...program.renderFacts(fakeDocument, mail),
    program.renderAttachments(fakeDocument, mail, () => undefined),
  ]

  test('is shown as text', () => {
    const shown = made.flatMap(texts)
    for (const part of shown) expect(typeof part).toBe('string')
    if (text !== '') expect(shown.filter((part) => part.includes(text)).length).toBeGreaterThanOrEqual(7)
  })

  test('adds no element and no attribute of its own', () => {
    for (const element of made.flatMap(descendants)) {
      expect(allowedElements).toContain(element.name)
      for (const [key, value] of element.attributes) {
        expect(key).toMatch(/^(class|type|title|datetime|aria-.*)$/)
        if (text !== '') expect(value).not.toContain(text)
      }
    }
  })
})

describe('the program', () => {
  test.each([
    ['innerHTML'],
    ['outerHTML ='],
    ['insertAdjacentHTML'],
    ['document.write'],
    ['createContextualFragment'],
    ['setHTMLUnsafe'],
    ['eval('],
    ['Function('],
    ['import('],
    ['localStorage'],
    ['postMessage'],
    ['window.open'],
  ])('does not use %s', (sink) => expect(source).not.toContain(sink))

  test.each([['onclick'], ['href'], ['src'], ['srcdoc'], ['style'], ['formaction']])(
    'sets no attribute %s on an element of the page',
    (name) => expect(() => program.element(fakeDocument, 'p', { [name]: 'x' })).toThrow(TypeError),
  )

  test('shows HTML in an iframe that may do nothing but open tabs', () => {
    const frame: FakeElement = program.renderFrame(fakeDocument, '<p>')
    expect(frame.name).toBe('iframe')
    expect(frame.attributes.get('sandbox')).toBe('allow-popups allow-popups-to-escape-sandbox')
    expect(frame.attributes.get('srcdoc')).toBe('<p>')
    expect(frame.attributes.has('src')).toBe(false)
  })

  test('puts its policy in front of everything in the mail’s document', () => {
    const parse = (html: string) => ({ querySelectorAll: () => [], documentElement: { outerHTML: html } })
    const { srcdoc } = program.isolateHtml('<script>x</script>', new Map(), parse)
    expect(srcdoc).toMatch(
      /^<!doctype html><meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">/,
    )
  })

  /** A mail's document in which nothing but these elements is found. */
  const parseTo =
    (found: { links?: FakeElement[]; pictures?: FakeElement[]; banned?: { remove(): void }[] }) => () => ({
      querySelectorAll: (selector: string) =>
        (selector.startsWith('script')
          ? found.banned
          : selector.includes('href')
            ? found.links
            : found.pictures) ?? [],
      documentElement: { outerHTML: '' },
    })
  const elementWith = (name: string, attributes: Record<string, string>) => {
    const made = new FakeElement(name)
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value)
    return made
  }

  test('removes what runs or reaches out by itself', () => {
    const remove = vi.fn()
    program.isolateHtml('', new Map(), parseTo({ banned: [{ remove }] }))
    expect(remove).toHaveBeenCalledOnce()
  })

  test.each([
    ['https://app.test/reset?token=1'],
    ['HTTP://app.test'],
    [' https://app.test '],
    ['mailto:a@b.test'],
  ])('a link to %j opens a tab that knows nothing of the page', (href) => {
    const link = elementWith('a', {
      href,
      target: '_top',
      ping: 'https://evil.test',
      rel: 'opener',
      download: '',
    })
    program.isolateHtml('', new Map(), parseTo({ links: [link] }))
    expect(Object.fromEntries(link.attributes)).toEqual({
      title: href.trim(),
      href: href.trim(),
      target: '_blank',
      rel: 'noopener noreferrer',
    })
  })

  test.each([
    ['javascript:alert(1)'],
    ['java\nscript:alert(1)'],
    ['\u0001javascript:alert(1)'],
    ['data:text/html,<script>alert(1)</script>'],
    ['blob:https://valija.test/1'],
    ['file:///etc/passwd'],
    ['//evil.test'],
    ['https:evil'],
    ['/inbox'],
    ['#top'],
    [''],
  ])('a link to %j is dead', (href) => {
    const link = elementWith('a', { href, 'xlink:href': href, target: '_top' })
    program.isolateHtml('', new Map(), parseTo({ links: [link] }))
    expect([...link.attributes.keys()]).toEqual(['title'])
  })

  test('only links are links: what else has an href loses it', () => {
    const picture = elementWith('image', { href: 'https://evil.test/p.png' })
    program.isolateHtml('', new Map(), parseTo({ links: [picture] }))
    expect([...picture.attributes.keys()]).toEqual(['title'])
  })

  test.each([
    ['', { src: 'https://evil.test/p.png' }, true],
    ['', { src: '//evil.test/p.png' }, true],
    ['', { srcset: 'https://evil.test/p.png 2x' }, true],
    ['', { background: 'http://evil.test/p.png' }, true],
    ['<p style="background: url(\'https://evil.test/p.png\')">', {}, true],
    ['', { src: 'cid:logo' }, false],
    ['', { src: 'data:image/png;base64,AA==' }, false],
    ['<a href="https://app.test">https://app.test</a>', {}, false],
  ])('html %j with a picture %j: pictures are blocked: %j', (html, attributes, isBlocking) => {
    const pictures = new Map([['logo', 'data:image/png;base64,AA==']])
    const picture = elementWith('img', attributes as Record<string, string>)
    expect(program.isolateHtml(html, pictures, parseTo({ pictures: [picture] }))).toMatchObject({
      isBlocking,
    })
  })

  test('makes data: URLs of pictures only', async () => {
    const attachments = [
      { content_id: 'a', content_type: 'image/png' },
      { content_id: 'b', content_type: 'text/html' },
      { content_id: 'c', content_type: 'image/png;base64,x" onload="alert(1)' },
      { content_id: null, content_type: 'image/png' },
    ]
    const api = { attachment: async () => new Uint8Array([1, 2, 255]).buffer }
    const pictures: Map<string, string> = await program.readPictures(api, { id: 'inb_1', attachments })
    expect([...pictures]).toEqual([['a', 'data:image/png;base64,AQL/']])
  })

  test('takes the key out of the address and keeps it in the tab', () => {
    const stored = new Map<string, string>()
    const replaceState = vi.fn()
    const window = {
      location: { hash: '#key=vlj_abc', pathname: '/ui/inbox' },
      history: { replaceState },
      sessionStorage: {
        setItem: (k: string, v: string) => stored.set(k, v),
        getItem: (k: string) => stored.get(k) ?? null,
      },
    }
    expect(program.takeKey(window)).toBe('vlj_abc')
    expect(replaceState).toHaveBeenCalledWith(null, '', '/ui/inbox')
    expect(program.takeKey({ ...window, location: { hash: '', pathname: '/ui/inbox' } })).toBe('vlj_abc')
  })
})

describe('the page', () => {
  const { html, policy } = assemblePage()
  const scripts = [...html.matchAll(/<script[^>]*>([\s\S]*?)<\/script>/g)]

  test('has one script, and its policy allows this one by its hash and no other', () => {
    expect(scripts).toHaveLength(1)
    const hash = createHash('sha256').update(scripts[0]![1]!).digest('base64')
    expect(policy).toContain(`script-src 'sha256-${hash}';`)
    expect(policy).toMatch(/^default-src 'none';/)
    expect(policy).not.toMatch(/script-src[^;]*unsafe|\*|https?:/)
  })

  test('loads nothing and has no handlers in its markup', () => {
    expect(html.replace(scripts[0]![0], '')).not.toMatch(/\son[a-z]+=|src=|https?:|@import|url\(/)
  })
})
