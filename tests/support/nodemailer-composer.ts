/**
 * A composition as nodemailer's MailComposer writes it, for comparison with `compose`: whole, with the header that nodemailer makes of
 * its addresses, subject and fields. What `compose` decides of a file, nodemailer is told.
 */
import type { Buffer } from 'node:buffer'
import type { ComposedAttachment, Composition, Mailbox } from '@valija/mail'
import MailComposer from 'nodemailer/lib/mail-composer'
import { detectMimeType } from 'nodemailer/lib/mime-funcs'

export function composeByNodemailer(asked: Composition): Promise<Buffer> {
  const { text, html, subject, headers, messageId, date, boundarySeed } = asked
  const body = (type: string, content: string) => ({
    contentType: `${type}; charset=utf-8`,
    content: content.replace(/\r\n|\r|\n/g, '\r\n'),
  })
  const bodies = [
    ...(text === null && html !== null ? [] : [body('text/plain', text ?? '')]),
    ...(html === null ? [] : [body('text/html', html)]),
  ]
  const composer = new MailComposer({
    ...{ from: theirMailbox(asked.from), to: asked.to.map(theirMailbox), cc: asked.cc.map(theirMailbox) },
    ...{ replyTo: asked.replyTo.map(theirMailbox), subject },
    headers: headers.map(([key, value]) => ({ key, value })),
    ...{ alternatives: bodies, attachments: asked.attachments.map(theirAttachment) },
    ...{ messageId, date, baseBoundary: boundarySeed, boundaryPrefix: '=_' },
    ...{ disableFileAccess: true, disableUrlAccess: true },
  })
  return composer.compile().build()
}

const theirMailbox = ({ name, address }: Mailbox) => ({ name: name ?? '', address: address.email })

/** The type that a file is sent with: of its name where none was given, and none that would be opened as a mail. */
export function sentType({
  filename,
  contentType,
}: Pick<ComposedAttachment, 'filename' | 'contentType'>): string {
  const asked = contentType ?? detectMimeType(filename)
  return /^(?:message|multipart)\//i.test(asked) ? 'application/octet-stream' : asked
}

export function sentDisposition({
  disposition,
  contentId,
  ...file
}: ComposedAttachment): 'inline' | 'attachment' {
  const isForInline = contentId !== null && !/^text\//i.test(sentType(file))
  return disposition ?? (isForInline ? 'inline' : 'attachment')
}

function theirAttachment(file: ComposedAttachment) {
  const { filename, content, contentId } = file
  return {
    ...{ filename, content, contentType: sentType(file), contentTransferEncoding: 'base64' },
    contentDisposition: sentDisposition(file),
    ...(contentId === null ? {} : { cid: contentId.replace(/[<>]/g, '') }),
  }
}
