/**
 * POST /unsubscribe/<token>: unsubscribes, whether the reader's mail program asks (RFC 8058 §3.2: without cookies, without a
 * redirect, and nobody is asked again) or the button of our page; and takes it back, for whoever pressed that by mistake.
 */
import type { FastifyRequest } from 'fastify'
import type { RoutePlugin } from '../../route.ts'
import { createWrongLinkBudgets, linkPath, sendLost, tokenOf } from './links.ts'
import { donePage, oneClick, sendPage, undo, undonePage, wrongFormPage } from './page.ts'

/** A form of one field, in whichever of its two encodings. */
const formLimitBytes = 4_096
/** RFC 8058 §3.2: mail programs send the first of them, or the second. */
const formTypes = ['multipart/form-data', 'application/x-www-form-urlencoded']

export const unsubscribe: RoutePlugin = (app, { unsubscribeDesk }) => {
  const wrongLinks = createWrongLinkBudgets()
  app.register(async (forms) => {
    forms.removeAllContentTypeParsers()
    forms.addContentTypeParser(
      '*',
      { parseAs: 'buffer', bodyLimit: formLimitBytes },
      (_request, body, done) => done(null, body),
    )
    const options = { config: { scope: null }, schema: { hide: true } }
    forms.post(linkPath, options, async (request, reply) => {
      const form = await readForm(request)
      const wants = ({ name, value }: { name: string; value: string }) => form?.get(name) === value
      const token = tokenOf(request)
      if (wants(oneClick)) {
        const link = await unsubscribeDesk.unsubscribe(token)
        return link ? sendPage(reply, 200, donePage(link)) : sendLost(request, reply, wrongLinks)
      }
      if (!wants(undo)) return sendPage(reply, 400, wrongFormPage)
      const link = await unsubscribeDesk.takeBack(token)
      return link ? sendPage(reply, 200, undonePage(link)) : sendLost(request, reply, wrongLinks)
    })
  })
}

/** @returns null for what is not the form that its type says, or none */
async function readForm({ headers, body }: FastifyRequest): Promise<FormData | null> {
  const type = headers['content-type'] ?? ''
  const isForm = formTypes.some((form) => type.toLowerCase().startsWith(form))
  if (!isForm || !Buffer.isBuffer(body)) return null
  return new Response(new Uint8Array(body), { headers: { 'content-type': type } })
    .formData()
    .catch(() => null)
}
