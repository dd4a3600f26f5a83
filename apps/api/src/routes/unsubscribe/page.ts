/**
 * The page behind the link of a bulk mail, for people: a sentence and a button, readable by everybody and everything. It runs no
 * scripts, loads nothing, sets no cookie, and is kept by nobody. What it shows of a mail was written by strangers: all of it is
 * escaped.
 */
import { createHash } from 'node:crypto'
import type { LinkView } from '@valija/flows'
import type { FastifyReply } from 'fastify'

const style = `
:root { color-scheme: light dark; font: 1.125rem/1.5 system-ui, sans-serif }
body { margin: 0; padding: 2rem 1rem; display: flex; justify-content: center }
main { max-width: 32rem }
h1 { font-size: 1.5rem; line-height: 1.25 }
button { font: inherit; padding: .6rem 1.2rem; border: 2px solid; border-radius: .4rem; background: #14532d; color: #fff; cursor: pointer }
button:focus-visible { outline: 3px solid; outline-offset: 3px }
`
const policy = [
  "default-src 'none'",
  `style-src 'sha256-${createHash('sha256').update(style).digest('base64')}'`,
  "form-action 'self'",
  "base-uri 'none'",
  "frame-ancestors 'none'",
].join('; ')

/** What the page's other button sends: it was a slip. */
export const undo = { name: 'Undo', value: 'Unsubscribe' } as const

/** The field that RFC 8058 §3.1 has in a one-click POST; the page's own button sends the same. */
export const oneClick = { name: 'List-Unsubscribe', value: 'One-Click' } as const

export function sendPage(reply: FastifyReply, status: number, html: string): FastifyReply {
  return reply
    .code(status)
    .type('text/html; charset=utf-8')
    .header('content-security-policy', policy)
    .header('cache-control', 'no-store')
    .header('x-robots-tag', 'noindex, nofollow')
    .send(html)
}

/** Asks whether it is meant. */
export function askPage(link: LinkView): string {
  if (link.isSuppressed) return donePage(link)
  const body = `<p>Do you no longer want ${mailsOf(link)} at <strong>${shown(link.email)}</strong>?</p>
${form(oneClick, 'Unsubscribe')}`
  return page('Unsubscribe', body)
}

export function donePage(link: LinkView): string {
  const body = `<p role="status">${capital(mailsOf(link))} will not be sent to <strong>${shown(link.email)}</strong> any more. A mail that is on its way already may still arrive.</p>
${link.canTakeBack ? form(undo, 'That was a mistake: undo') : ''}`
  return page('You are unsubscribed', body)
}

export function undonePage(link: LinkView): string {
  if (link.isSuppressed) return donePage(link)
  const body = `<p role="status">Nothing has changed: ${mailsOf(link)} will be sent to <strong>${shown(link.email)}</strong> as before.</p>`
  return page('Undone', body)
}

/** The same for what was never a link of ours, what was altered, and what leads nowhere any more. */
export const lostPage = page(
  'This link does not work',
  '<p>Perhaps it was cut when it was copied. Please use the link in the mail itself, or write to its sender.</p>',
)

export const wrongFormPage = page(
  'Nothing was changed',
  '<p>This was not the form that unsubscribes. Please open the link in the mail, and use the button there.</p>',
)

function page(title: string, body: string): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title}</title>
<style>${style}</style>
</head>
<body>
<main>
<h1>${title}</h1>
${body}
</main>
</body>
</html>
`
}

function form({ name, value }: { name: string; value: string }, label: string): string {
  return `<form method="post"><input type="hidden" name="${name}" value="${value}">
<button type="submit">${label}</button></form>`
}

function mailsOf({ fromDomain, stream }: LinkView): string {
  const kind = stream === 'bulk' ? 'newsletters and other mass mails' : 'mails of this kind'
  return fromDomain === null ? kind : `${kind} from <strong>${escapeHtml(fromDomain)}</strong>`
}

/** Enough for its owner to know it: a mail that was passed on need not tell everybody. */
function shown(email: string): string {
  const at = email.lastIndexOf('@')
  const first = [...email.slice(0, at)][0] ?? ''
  return escapeHtml(`${first}…${email.slice(at)}`)
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1)
}

function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (char) => `&#${char.charCodeAt(0)};`)
}
