/**
 * The header of an attached file: its type, its name in three forms for readers of any age, its content id.
 *
 * What a type from outside holds beside a media type and its parameters is left out, and no value reaches the header without the encoding
 * that it needs there; the formats are nodemailer's (RFC 2231, and encoded words in `name`, which RFC 2047 forbids and old readers want).
 */
import type { Buffer } from 'node:buffer'
import {
  buildHeaderValue,
  detectMimeType,
  encodeWord,
  encodeWords,
  foldLines,
  parseHeaderValue,
} from 'nodemailer/lib/mime-funcs'
import { lettersPrevail } from './transfer-encoding.ts'

export interface ComposedAttachment {
  filename: string
  content: Buffer
  /** Null: told from the file name. */
  contentType: string | null
  /** With or without angle brackets; with an HTML part, `cid:` links in it find this attachment. */
  contentId: string | null
  /** Null: inline with a content id (but for text, which readers would join to the body), else attachment. */
  disposition: 'attachment' | 'inline' | null
}

/** RFC 2045 section 5.1; the length is what the API takes. */
const MEDIA_TYPE = /^[!#$%&'*+\-.^_`{|}~A-Za-z0-9]+\/[!#$%&'*+\-.^_`{|}~A-Za-z0-9]+$/
const PARAMETER = /^[!#$%&'*+\-.^_`{|}~A-Za-z0-9]{1,255}$/
const MAX_TYPE_LENGTH = 255
/** Composite types may not be in base64 (RFC 2046 section 5), and as they are they could break the lines' limits. */
const COMPOSITE = /^(?:message|multipart)\//i
const NOT_OF_AN_ID = /[^!-;=?-~]/g
/** Longer words could bring a line near the limit of 998 octets of RFC 5322 section 2.1.1. */
const MAX_WORD_LENGTH = 900
/** The whole encoded word with its frame stays below the 75 octets of RFC 2047 section 2. */
const ENCODED_WORD_LENGTH = 52
/** Of ASCII: others are in an encoded word anyway. */
const CONTROL = /[^\P{Cc}\x80-\x9f]/u

/** The id without its brackets, null for none. */
export function contentIdOf({ contentId }: ComposedAttachment): string | null {
  const id = contentId?.replace(NOT_OF_AN_ID, '') ?? ''
  return id === '' || id.length > MAX_WORD_LENGTH ? null : id
}

/** @returns the fields, each with its CRLF; what they announce is in base64 */
export function attachmentFields(attachment: ComposedAttachment): string[] {
  const { filename, disposition } = attachment
  const { value: type, params } = mediaTypeOf(attachment)
  const id = contentIdOf(attachment)
  const isForInline = id !== null && !/^text\//i.test(type)
  const place = disposition ?? (isForInline ? 'inline' : 'attachment')
  const fields = [
    `Content-Type: ${buildHeaderValue({ value: type, params })}; name=${legacyName(filename)}`,
    ...(id === null ? [] : [`Content-ID: <${id}>`]),
    'Content-Transfer-Encoding: base64',
    `Content-Disposition: ${buildHeaderValue({ value: place, params: { filename } })}`,
  ]
  return fields.map((field) => `${foldLines(field, 76)}\r\n`)
}

function mediaTypeOf({ contentType, filename }: ComposedAttachment) {
  const given = contentType ?? detectMimeType(filename)
  const { value, params } = parseHeaderValue(given, { stripComments: true })
  if (!MEDIA_TYPE.test(value) || value.length > MAX_TYPE_LENGTH || COMPOSITE.test(value))
    return { value: 'application/octet-stream', params: {} }
  // The name has its own field to come from.
  const kept = Object.entries(params).filter(([name]) => PARAMETER.test(name) && !/^name(?:\*|$)/.test(name))
  return { value, params: Object.fromEntries(kept) }
}

/** The name as a parameter for readers that do not know RFC 2231. */
function legacyName(filename: string): string {
  const encoding = lettersPrevail(filename) ? 'Q' : 'B'
  const mustBeWord = CONTROL.test(filename) || filename.length > MAX_WORD_LENGTH
  const name = mustBeWord
    ? encodeWord(filename, encoding, ENCODED_WORD_LENGTH)
    : encodeWords(filename, encoding, ENCODED_WORD_LENGTH, true)
  return name !== filename || /[\s'"\\;:/=(),<>@[\]?]|^-/.test(name) ? JSON.stringify(name) : name
}
