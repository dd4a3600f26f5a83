/** Attachments: decoded, and named in a way that every mail program can save. */
import { Buffer } from 'node:buffer'
import { type Fault, findLengthFault, findLineFault, pointer } from './message-input-text.ts'

export interface AttachmentInput {
  filename: string
  /** Base64 (RFC 4648 section 4), with or without padding, without white space. */
  content: string
  content_type?: string
  content_id?: string
  disposition?: 'attachment' | 'inline'
}

export interface MessageAttachment {
  filename: string
  content: Buffer
  /** Null: told from the file name when the message is composed. */
  contentType: string | null
  /** Without angle brackets. */
  contentId: string | null
  disposition: 'attachment' | 'inline' | null
}

const MAX_ATTACHMENTS = 100
const MAX_FILENAME_CHARACTERS = 255
const MAX_CONTENT_TYPE_CHARACTERS = 255
const MAX_CONTENT_ID_CHARACTERS = 200

/** RFC 2045 section 5.1: type "/" subtype, then parameters. Nothing in it can match in two ways. */
const CONTENT_TYPE =
  /^[!#$%&'*+\-.^_`{|}~A-Za-z0-9]+\/[!#$%&'*+\-.^_`{|}~A-Za-z0-9]+(?: *; *[!#$%&'*+\-.^_`{|}~A-Za-z0-9]+=(?:[!#$%&'*+\-.^_`{|}~A-Za-z0-9]+|"[ !#-[\]-~]*"))*$/
const COMPOSITE_TYPE = /^(?:multipart|message)\//i
/** Inside the angle brackets of RFC 2392; "logo" without "@" is common and works. */
const CONTENT_ID = /^[!-;=?-~]+$/
/** Embeddings and overrides: `invoice[U+202E]fdp.exe` shows as `invoiceexe.pdf`. */
const BIDI_CONTROL = /[\u202a-\u202e\u2066-\u2069]/

/** Octets that a base64 text stands for, told without decoding it; exact for text that `decodeBase64` takes. */
export function decodedLength(base64: string): number {
  const padding = base64.endsWith('==') ? 2 : base64.endsWith('=') ? 1 : 0
  return Math.floor(((base64.length - padding) * 3) / 4)
}

/**
 * Strict, and fast: 37 µs for 200 KB, where a regular expression for the alphabet alone takes 1,250.
 *
 * @returns null for anything but the standard alphabet with all or none of its padding
 */
export function decodeBase64(text: string): Buffer | null {
  const padding = text.endsWith('==') ? 2 : text.endsWith('=') ? 1 : 0
  const digits = text.length - padding
  if (digits % 4 === 1 || (padding > 0 && text.length % 4 !== 0)) return null
  // Node takes the alphabet for URLs as well, and a character like U+0141 by its lower octet.
  if (text.includes('-') || text.includes('_') || Buffer.byteLength(text) !== text.length) return null
  const octets = Buffer.from(text, 'base64')
  // Shorter where something was passed over that is no digit.
  return octets.length === decodedLength(text) ? octets : null
}

export const BASE64_FAULT =
  'Is not base64. Use the standard alphabet (A-Z a-z 0-9 + /), with or without padding, without line breaks or spaces.'

export function readAttachments(
  input: readonly AttachmentInput[] | undefined,
  faults: Fault[],
): MessageAttachment[] {
  const attachments = input ?? []
  if (attachments.length > MAX_ATTACHMENTS) {
    const message = `There are ${attachments.length} attachments; at most ${MAX_ATTACHMENTS} are allowed. Pack them into one.`
    faults.push({ path: '/attachments', message })
    return []
  }
  const contentIds = new Set<string>()
  return attachments.map((attachment, i) => {
    const path = pointer('/attachments', i)
    const content = decodeBase64(attachment.content)
    const contentId = attachment.content_id?.replace(/^<(.*)>$/s, '$1') ?? null
    const checks: [string, string | null][] = [
      ['filename', findFilenameFault(attachment.filename)],
      ['content', content === null ? BASE64_FAULT : null],
      ['content_type', findContentTypeFault(attachment.content_type)],
      ['content_id', findContentIdFault(contentId, contentIds)],
    ]
    for (const [field, message] of checks)
      if (message !== null) faults.push({ path: pointer(path, field), message })
    if (contentId !== null) contentIds.add(contentId)
    return {
      filename: attachment.filename,
      content: content ?? Buffer.alloc(0),
      contentType: attachment.content_type ?? null,
      contentId,
      disposition: attachment.disposition ?? null,
    }
  })
}

function findFilenameFault(filename: string): string | null {
  const fault = findLengthFault(filename, 1, MAX_FILENAME_CHARACTERS) ?? findLineFault(filename)
  if (fault !== null) return fault
  if (/[/\\]/.test(filename)) return 'Holds "/" or "\\". Give the name of the file alone, without folders.'
  if (BIDI_CONTROL.test(filename))
    return 'Holds a control for the direction of text, which can hide its ending. Remove it.'
  return filename.trim() === '' || /^\.{1,2}$/.test(filename) ? 'Is not the name of a file. Give one.' : null
}

function findContentTypeFault(contentType: string | undefined): string | null {
  if (contentType === undefined) return null
  const fault = findLengthFault(contentType, 1, MAX_CONTENT_TYPE_CHARACTERS)
  if (fault !== null) return fault
  if (!CONTENT_TYPE.test(contentType)) {
    return 'Is not a media type. Write it as type/subtype, such as application/pdf, or leave it out.'
  }
  return COMPOSITE_TYPE.test(contentType)
    ? 'Types multipart/* and message/* cannot be attached as such. Use application/octet-stream; a name that ends in .eml tells what it is.'
    : null
}

function findContentIdFault(contentId: string | null, seen: ReadonlySet<string>): string | null {
  if (contentId === null) return null
  const fault = findLengthFault(contentId, 1, MAX_CONTENT_ID_CHARACTERS)
  if (fault !== null) return fault
  if (!CONTENT_ID.test(contentId)) {
    return 'Is not a content id. Use visible ASCII characters without "<", ">" and spaces, such as logo@example.com.'
  }
  return seen.has(contentId) ? 'Another attachment has the same content id. Give each its own.' : null
}
