/**
 * The inbox page's program (see ../inbox.ts). Everything that comes out of a mail is hostile: it becomes text nodes and
 * attributes that cannot run, never markup of this page. The one exception, a mail's HTML, goes into a sandboxed iframe.
 */

/** What a mail's HTML may load: pictures that are in it. The page's own policy holds in the iframe too. */
const mailPolicy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"

const views = ['HTML', 'Text', 'Headers', 'Raw', 'Attachments']

/** Attributes that `element` may set: none of them can run or load anything. */
const plainAttributes = new Set(['class', 'id', 'role', 'type', 'title', 'tabindex', 'datetime', 'hidden'])

/**
 * Makes an element: `element(document, 'p', { class: 'hint' }, 'text', child)`. Strings become text nodes.
 */
export function element(document, name, attributes = {}, ...children) {
  const made = document.createElement(name)
  for (const [key, value] of Object.entries(attributes)) {
    if (!plainAttributes.has(key) && !key.startsWith('aria-')) throw new TypeError(`no attribute ${key}`)
    made.setAttribute(key, value)
  }
  made.append(...children)
  return made
}

/** An entry of the list. */
export function renderEntry(document, entry, open) {
  const button = element(
    document,
    'button',
    { type: 'button' },
    element(document, 'strong', {}, entry.subject || '(no subject)'),
    renderTime(document, entry.received_at),
    element(document, 'span', { class: 'line' }, entry.from || entry.mail_from || '<>'),
    element(document, 'span', { class: 'line' }, `to ${entry.rcpt_to.join(', ')}`),
  )
  button.addEventListener('click', () => open(entry))
  return element(document, 'li', {}, button)
}

function renderTime(document, time) {
  return element(document, 'time', { datetime: time, title: time }, new Date(time).toLocaleTimeString())
}

/** Subject, header addresses, envelope and time. */
export function renderFacts(document, mail) {
  const facts = [
    ['From', mail.from],
    ['To', mail.to],
    ['Envelope from', mail.mail_from || '<>'],
    ['Envelope to', mail.rcpt_to.join(', ')],
    ['Received', new Date(mail.received_at).toLocaleString()],
    ['Message-ID', mail.rfc_message_id ?? '–'],
    ['Size', showSize(mail.size_bytes)],
  ]
  const pairs = facts.flatMap(([name, value]) => [
    element(document, 'dt', {}, name),
    element(document, 'dd', {}, value),
  ])
  return [element(document, 'h2', {}, mail.subject || '(no subject)'), element(document, 'dl', {}, ...pairs)]
}

/** @returns e.g. `1.4 kB` */
export function showSize(bytes) {
  return bytes < 1000
    ? `${bytes} B`
    : bytes < 1e6
      ? `${(bytes / 1000).toFixed(1)} kB`
      : `${(bytes / 1e6).toFixed(1)} MB`
}

/** The attachments with a button each; the content is fetched with the key and saved, never opened. */
export function renderAttachments(document, mail, save) {
  if (mail.attachments.length === 0) return element(document, 'p', { class: 'hint' }, 'No attachments.')
  const items = mail.attachments.map((attachment, index) => {
    const button = element(document, 'button', { type: 'button' }, 'Save')
    button.addEventListener('click', () => save(index, attachment))
    const name = attachment.filename ?? '(no name)'
    return element(
      document,
      'li',
      {},
      button,
      `${name} · ${attachment.content_type} · ${showSize(attachment.size_bytes)}`,
    )
  })
  return element(document, 'ol', { class: 'rows' }, ...items)
}

/** What a link in a mail may open. Anything else (javascript:, data:, paths, anchors) would be ours, or run. */
const openableLink = /^(?:https?:\/\/|mailto:)/i

/** What runs, reaches out by itself, or hides links: in a shadow root, or behind an animation of `href`. */
const bannedElements =
  'script, link, base, meta, object, embed, iframe, frame, template, set, animate, animateMotion, animateTransform'

/**
 * A mail's HTML as the document of an iframe: its links open new tabs that know nothing of this page, without what a policy
 * does not stop (preconnect, refresh), with its own pictures in place.
 *
 * @param parse turns HTML into an inert document: `DOMParser`, which runs and loads nothing
 * @param pictures data: URLs by content id
 * @returns the document, and whether pictures from elsewhere are kept out of it
 */
export function isolateHtml(html, pictures, parse) {
  const inert = parse(html)
  for (const found of inert.querySelectorAll(bannedElements)) found.remove()
  for (const link of inert.querySelectorAll('[href], [xlink\\:href]')) isolateLink(link)
  let isBlocking = /url\(\s*["']?\s*(?:https?:)?\/\//i.test(html)
  for (const picture of inert.querySelectorAll('[src], [srcset], [background]')) {
    for (const name of ['src', 'background']) {
      const id = /^cid:(.+)$/i.exec(picture.getAttribute(name) ?? '')?.[1]
      const data = id === undefined ? undefined : pictures.get(decode(id))
      if (data !== undefined) picture.setAttribute(name, data)
    }
    for (const name of ['src', 'srcset', 'background'])
      isBlocking ||= /^\s*(?:https?:)?\/\//i.test(picture.getAttribute(name) ?? '')
  }
  const meta = `<meta http-equiv="Content-Security-Policy" content="${mailPolicy}"><meta name="referrer" content="no-referrer">`
  return { srcdoc: `<!doctype html>${meta}${inert.documentElement.outerHTML}`, isBlocking }
}

/** The title says where a link leads, whatever its text says. */
function isolateLink(link) {
  const target = (link.getAttribute('href') ?? '').trim()
  for (const name of ['href', 'xlink:href', 'target', 'ping', 'rel', 'download']) link.removeAttribute(name)
  link.setAttribute('title', target)
  if (!['a', 'area'].includes(link.localName) || !openableLink.test(target)) return
  link.setAttribute('href', target)
  link.setAttribute('target', '_blank')
  link.setAttribute('rel', 'noopener noreferrer')
}

/** A cid: link percent-encodes what a Content-ID need not (RFC 2392 section 2). */
function decode(id) {
  try {
    return decodeURIComponent(id)
  } catch {
    return id
  }
}

/**
 * An iframe without scripts, origin, forms and navigation of this page: those flags are left out. A link may open a tab,
 * which is not in the sandbox, as the site behind a link of a mail has to work.
 */
export function renderFrame(document, srcdoc) {
  const frame = document.createElement('iframe')
  frame.setAttribute('sandbox', 'allow-popups allow-popups-to-escape-sandbox')
  frame.setAttribute('referrerpolicy', 'no-referrer')
  frame.setAttribute('title', 'The mail as HTML')
  frame.setAttribute('srcdoc', srcdoc)
  return frame
}

/** The API, with the reader's key. @throws {Error} with `status` for anything but success */
function createApi(window, key) {
  const call = async (path, options = {}) => {
    const response = await window.fetch(path, {
      ...options,
      headers: { authorization: `Bearer ${key}` },
      cache: 'no-store',
    })
    if (response.ok) return response
    const problem = await response.json().catch(() => ({}))
    const text = problem.detail ?? problem.title ?? `The server answered ${response.status}.`
    throw Object.assign(new Error(text), { status: response.status })
  }
  return {
    list: async (query, signal) => (await call(`/inbox?${new URLSearchParams(query)}`, { signal })).json(),
    mail: async (id) => (await call(`/inbox/${id}`)).json(),
    raw: async (id) => (await call(`/inbox/${id}/raw`)).text(),
    attachment: async (id, index) => (await call(`/inbox/${id}/attachments/${index}`)).arrayBuffer(),
    clear: () => call('/inbox', { method: 'DELETE' }),
  }
}

/** Takes the key from `#key=…`, and takes it out of the address bar and the history. */
export function takeKey(window) {
  const key = new URLSearchParams(window.location.hash.slice(1)).get('key')
  if (key !== null) {
    window.history.replaceState(null, '', window.location.pathname)
    window.sessionStorage.setItem('valija-key', key)
  }
  return window.sessionStorage.getItem('valija-key')
}

export function start(window) {
  const { document } = window
  const at = (id) => document.getElementById(id)
  const session = { stop: () => undefined }
  const showLogin = (why) => {
    session.stop()
    window.sessionStorage.removeItem('valija-key')
    at('main').hidden = true
    at('login').hidden = false
    at('status').textContent = why
    at('key').focus()
  }
  const enter = (key) => {
    at('login').hidden = true
    at('main').hidden = false
    session.stop()
    session.stop = openInbox(window, createApi(window, key), showLogin)
  }
  at('login').addEventListener('submit', (event) => {
    event.preventDefault()
    window.sessionStorage.setItem('valija-key', at('key').value.trim())
    at('key').value = ''
    enter(window.sessionStorage.getItem('valija-key'))
  })
  at('leave').addEventListener('click', () => showLogin(''))
  const key = takeKey(window)
  if (key === null) showLogin('')
  else enter(key)
}

/** Shows the list and keeps it up to date. @returns what ends it */
function openInbox(window, api, refuse) {
  const { document } = window
  const at = (id) => document.getElementById(id)
  const ended = new AbortController()
  const { signal } = ended
  const state = { entries: [], next: null, chosen: null, view: 'HTML', round: 0 }
  const failed = (error) => {
    if (signal.aborted) return
    if (error.status === 401 || error.status === 403) refuse(error.message)
    else at('status').textContent = error.message
  }
  const filter = () => (at('to').value.trim() === '' ? {} : { to: at('to').value.trim() })
  const open = async (entry) => {
    state.chosen = entry.id
    showList()
    const mail = await api.mail(entry.id)
    if (state.chosen === mail.id && !signal.aborted) showMail(window, api, mail, state, failed)
  }
  const showList = () => {
    const items = state.entries.map((entry) => {
      const item = renderEntry(document, entry, (chosen) => open(chosen).catch(failed))
      item.firstChild.setAttribute('aria-current', String(entry.id === state.chosen))
      return item
    })
    at('list').replaceChildren(...items)
    at('empty').hidden = items.length > 0
    at('older').hidden = state.next === null
    document.title = `Inbox (${items.length}${state.next === null ? '' : '+'}) · Valija`
  }
  const load = async () => {
    const page = await api.list({ limit: 50, ...filter() }, signal)
    state.entries = page.data
    state.next = page.next_cursor
    showList()
  }
  /** Waits for what is newer than the first entry, for ever; a new filter begins a new round. */
  const follow = async () => {
    const round = ++state.round
    const isCurrent = () => round === state.round && !signal.aborted
    while (isCurrent()) {
      try {
        await load()
        at('status').textContent = 'live'
        for (let isQuiet = true; isQuiet && isCurrent(); ) {
          const after = state.entries[0] === undefined ? {} : { after: state.entries[0].id }
          const news = await api.list({ limit: 1, wait: '30s', ...after, ...filter() }, signal)
          isQuiet = news.data.length === 0
        }
      } catch (error) {
        if (!isCurrent()) return
        failed(error)
        await new Promise((resolve) => window.setTimeout(resolve, 3000))
      }
    }
  }
  const loadOlder = async () => {
    const page = await api.list({ limit: 50, cursor: state.next, ...filter() }, signal)
    state.entries.push(...page.data)
    state.next = page.next_cursor
    showList()
  }
  const clear = async () => {
    if (!window.confirm('Delete all mails in this inbox?')) return
    await api.clear()
    state.chosen = null
    at('mail').replaceChildren()
    void follow()
  }
  at('older').addEventListener('click', () => loadOlder().catch(failed), { signal })
  at('clear').addEventListener(
    'click',
    () => clear().catch((error) => (at('status').textContent = error.message)),
    { signal },
  )
  at('to').addEventListener('change', () => follow(), { signal })
  document.addEventListener(
    'keydown',
    (event) => onKey(event, document, state, (entry) => open(entry).catch(failed)),
    { signal },
  )
  void follow()
  return () => ended.abort()
}

/** j and k or the arrows walk through the list, 1 to 5 choose the view, / goes to the filter. */
function onKey(event, document, state, open) {
  if (event.ctrlKey || event.metaKey || event.altKey) return
  if (event.target.closest?.('input')) {
    if (event.key === 'Escape') event.target.blur()
    return
  }
  const step = { j: 1, ArrowDown: 1, k: -1, ArrowUp: -1 }[event.key]
  if (step !== undefined && state.entries.length > 0) {
    event.preventDefault()
    const present = state.entries.findIndex((entry) => entry.id === state.chosen)
    const next = Math.min(Math.max(present + step, 0), state.entries.length - 1)
    open(state.entries[next])
    const button = document.querySelectorAll('#list button')[next]
    button?.focus()
    button?.scrollIntoView({ block: 'nearest' })
  } else if (/^[1-5]$/.test(event.key))
    document.querySelectorAll('[role=tab]')[Number(event.key) - 1]?.click()
  else if (event.key === '/') {
    event.preventDefault()
    document.getElementById('to').focus()
  }
}

/** A mail with its views; the view that was looked at last is kept from mail to mail. */
function showMail(window, api, mail, state, failed) {
  const { document } = window
  const panel = element(document, 'div', { role: 'tabpanel', tabindex: '0', 'aria-label': 'Mail' })
  const tabs = views.map((view) => {
    const label = view === 'Attachments' ? `${view} (${mail.attachments.length})` : view
    const tab = element(document, 'button', { type: 'button', role: 'tab' }, label)
    tab.addEventListener('click', () => choose(view).catch(failed))
    return tab
  })
  const choose = async (view) => {
    state.view = view
    for (const [i, tab] of tabs.entries()) {
      tab.setAttribute('aria-selected', String(views[i] === view))
      tab.setAttribute('tabindex', views[i] === view ? '0' : '-1')
    }
    const shown = await renderView(window, api, mail, view, failed)
    if (state.view === view) panel.replaceChildren(shown)
  }
  const list = element(document, 'div', { role: 'tablist', 'aria-label': 'Views' }, ...tabs)
  list.addEventListener('keydown', (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key]
    if (step === undefined) return
    const next = (views.indexOf(state.view) + step + views.length) % views.length
    tabs[next].focus()
    choose(views[next]).catch(failed)
  })
  document.getElementById('mail').replaceChildren(...renderFacts(document, mail), list, panel)
  choose(mail.html === null && state.view === 'HTML' ? 'Text' : state.view).catch(failed)
}

async function renderView(window, api, mail, view, failed) {
  const { document } = window
  const text = (content) => element(document, 'pre', {}, content)
  if (view === 'Text') return text(mail.text ?? '(no text part)')
  if (view === 'Headers') return text(mail.headers.map(({ name, value }) => `${name}: ${value}`).join('\n'))
  if (view === 'Raw') return text(await api.raw(mail.id))
  if (view === 'Attachments') {
    return renderAttachments(document, mail, (index, attachment) =>
      saveAttachment(window, api, mail.id, index, attachment).catch(failed),
    )
  }
  if (mail.html === null) return element(document, 'p', { class: 'hint' }, 'No HTML part.')
  const pictures = await readPictures(api, mail)
  const parse = (html) => new window.DOMParser().parseFromString(html, 'text/html')
  const { srcdoc, isBlocking } = isolateHtml(mail.html, pictures, parse)
  const frame = renderFrame(document, srcdoc)
  if (!isBlocking) return frame
  const hint =
    'Pictures from other servers are not loaded here, so that nobody learns that the mail was read.'
  return element(document, 'div', { class: 'framed' }, element(document, 'p', { class: 'hint' }, hint), frame)
}

/** The pictures that the HTML names by cid:, as data: URLs. */
export async function readPictures(api, mail) {
  const pictures = new Map()
  for (const [index, { content_id: id, content_type: type }] of mail.attachments.entries()) {
    if (id === null || !/^image\/[a-z0-9.+-]+$/i.test(type)) continue
    const octets = new Uint8Array(await api.attachment(mail.id, index))
    pictures.set(id, `data:${type};base64,${octets.toBase64?.() ?? toBase64(octets)}`)
  }
  return pictures
}

function toBase64(octets) {
  let text = ''
  for (const octet of octets) text += String.fromCharCode(octet)
  return btoa(text)
}

/** Saves a file under its name. Its type is dropped, so that no browser opens it under our origin. */
async function saveAttachment(window, api, id, index, attachment) {
  const blob = new window.Blob([await api.attachment(id, index)], { type: 'application/octet-stream' })
  const url = window.URL.createObjectURL(blob)
  const link = window.document.createElement('a')
  link.setAttribute('href', url)
  link.setAttribute('download', attachment.filename ?? `attachment-${index}`)
  link.click()
  window.setTimeout(() => window.URL.revokeObjectURL(url), 60_000)
}
