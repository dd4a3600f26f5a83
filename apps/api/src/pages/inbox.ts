/**
 * GET /ui/inbox: a page that shows the capture inbox. The page itself is no secret and needs no key; it asks its reader
 * for one and keeps it in the tab (sessionStorage).
 *
 * What it shows was written by strangers, so: its only script is allowed by its hash, text reaches the page as text
 * (assets/inbox.js), and a mail's HTML lives in an iframe that has no scripts, no origin and no network, and whose links open new tabs. Styles are
 * `unsafe-inline` because an iframe of `srcdoc` inherits this policy, and mails are styled in line.
 */
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { RoutePlugin } from '../route.ts'

export const inboxPage: RoutePlugin = (app) => {
  const { html, policy } = assemblePage()
  for (const path of ['/ui', '/ui/']) {
    app.get(path, { config: { scope: null }, schema: { hide: true } }, (_request, reply) =>
      reply.redirect('/ui/inbox'),
    )
  }
  app.get('/ui/inbox', { config: { scope: null }, schema: { hide: true } }, (_request, reply) =>
    reply
      .type('text/html; charset=utf-8')
      .header('content-security-policy', policy)
      .header('x-content-type-options', 'nosniff')
      .header('referrer-policy', 'no-referrer')
      .header('cache-control', 'no-cache')
      .send(html),
  )
}

/** The page in one piece, and the policy that lets in nothing but what stands in it. */
export function assemblePage(): { html: string; policy: string } {
  const script = `${readAsset('inbox.js')}\nstart(window)\n`
  const hash = createHash('sha256').update(script).digest('base64')
  const html = readAsset('inbox.html')
    .replace('/*style*/', () => readAsset('inbox.css'))
    .replace('/*script*/', () => script)
  const policy = [
    "default-src 'none'",
    `script-src 'sha256-${hash}'`,
    "style-src 'unsafe-inline'",
    'img-src data:',
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join('; ')
  return { html, policy }
}

function readAsset(name: string): string {
  return readFileSync(new URL(`assets/${name}`, import.meta.url), 'utf8')
}
