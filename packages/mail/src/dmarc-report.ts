/**
 * Reads a DMARC aggregate report: what a receiver saw of mails in the name of a domain, by source address (RFC 7489 appendix C, and
 * RFC 9990, which replaces it).
 *
 * Reporters keep neither schema to the letter, so the reader is forgiving: names count whatever their case, namespace and place in the
 * tree above their parent, unknown ones are passed over, and so is markup that was never closed. What it insists on is what a sum needs: who
 * reports, about which domain and time, and that the report was not cut off.
 * Nothing in it can make it long: entities are not expanded, its depth is bounded, each text is cut, equal rows are added up as they
 * are read, and what has more rows than anybody looks at goes into one row without an address.
 */
import { isIP } from 'node:net'
import sax from 'sax'
import {
  reportCount,
  reportDomain,
  reporterLength,
  reportIdLength,
  reportText,
  reportTime,
} from './report-text.ts'

export type DmarcDisposition = 'none' | 'quarantine' | 'reject'

/** A DKIM signature that the receiver looked at. */
export interface ReportedSignature {
  domain: string
  /** Empty where it is not told. */
  selector: string
  isValid: boolean
}

/** Mails of one source that were judged alike. */
export interface DmarcRow {
  /** Canonical; empty for all the sources that the report had too many of. */
  sourceIp: string
  messages: number
  disposition: DmarcDisposition
  /** Whether a valid signature, and a passed SPF, was of the domain in From (aligned). */
  dkim: boolean
  spf: boolean
  /** The domain in From. */
  headerFrom: string
  signatures: ReportedSignature[]
  /** The domain for which SPF passed, aligned or not; empty without one. */
  spfDomain: string
  /** Why the receiver did not do what the policy asks for (RFC 7489 section 7.2): forwarded, mailing_list, local_policy …; empty without one. */
  override: string
}

export interface DmarcReport {
  kind: 'dmarc'
  reporter: string
  reportId: string
  /** Milliseconds since 1970. */
  beginMs: number
  endMs: number
  /** The domain whose policy was found. */
  policyDomain: string
  /** p= of it; empty when it is not told. */
  policy: string
  rows: DmarcRow[]
}

/** Deeper than any report; ours are 5 deep, and a tag that is never closed makes it one more. */
const maxDepth = 40
/** Of rows that differ. Nobody looks at more sources of a day, and what is hostile is not to fill our memory. */
const maxRows = 5_000
/** Reports have none, but for namespaces. */
const maxAttributes = 100
/** Outside of records, and in each: what has more of them, or a longer text, is no report, and not read to its end. */
const maxElements = 500
const maxTextLength = 2 ** 16
/** With the text behind it, as far as it has come in pieces. */
const maxTagLength = 4 * maxTextLength
/** More are not told apart. */
const maxSignatures = 4

/** @returns the report, or why it is none */
export async function readDmarcReport(pieces: AsyncIterable<string>): Promise<DmarcReport | string> {
  const draft = new ReportDraft()
  // It keeps count of its position: without that it does not bound what it gathers, either.
  const parser = sax.parser(false, { lowercase: true, noscript: true, position: true })
  parser.onopentag = ({ name }) => draft.open(localName(name))
  parser.onattribute = () => draft.noteAttribute()
  parser.onclosetag = () => draft.close()
  parser.ontext = (text) => draft.say(text)
  parser.oncdata = (text) => draft.say(text)
  parser.onprocessinginstruction = () => draft.countElement()
  parser.oncomment = () => draft.countElement()
  parser.onerror = (error) => draft.refuse(`It is no XML that can be read: ${reportText(error.message, 200)}`)
  for await (const piece of pieces) {
    parser.write(piece)
    // The parser tells of no attribute that it has had already.
    if (parser.position - parser.startTagPosition > maxTagLength)
      draft.refuse('It has a tag or a text that is too long.')
    if (draft.fault !== null || draft.isClosed) break
  }
  return draft.finish()
}

/** Without its namespace's prefix. */
function localName(name: string): string {
  return name.slice(name.indexOf(':') + 1)
}

type RowDraft = Omit<DmarcRow, 'sourceIp' | 'messages' | 'dkim' | 'spf'> & {
  sourceIp: string | null
  messages: number | null
  dkim: boolean | null
  spf: boolean | null
}

class ReportDraft {
  fault: string | null = null
  /** The end of the report was seen: what follows is not part of it. */
  isClosed = false

  readonly #path: string[] = []
  #text = ''
  /** Of the element that is being opened. */
  #attributes = 0
  /** Since the last record began or ended; those outside of records go on where they were. */
  #elements = 0
  #elementsOutside = 0
  #textLength = 0
  #reporter = ''
  #reporterMail = ''
  #reportId = ''
  #begin: number | null = null
  #end: number | null = null
  #policyDomain = ''
  #policy = ''
  #row: RowDraft | null = null
  #signature: ReportedSignature | null = null
  #spf = { domain: '', isValid: false }
  readonly #rows = new Map<string, DmarcRow>()

  refuse(fault: string): void {
    this.fault ??= fault
  }

  noteAttribute(): void {
    this.#attributes += 1
    if (this.#attributes > maxAttributes) this.refuse(`An element has more than ${maxAttributes} attributes.`)
  }

  countElement(): void {
    this.#elements += 1
    if (this.#elements > maxElements)
      this.refuse(`It has more than ${maxElements} elements beside its records, or in one.`)
  }

  open(name: string): void {
    this.#attributes = 0
    this.countElement()
    this.#path.push(name)
    if (this.#path.length > maxDepth) this.refuse(`Its elements are more than ${maxDepth} deep.`)
    this.#text = ''
    this.#textLength = 0
    if (name === 'record') this.#startRow()
    else if (this.#parent === 'auth_results' && name === 'dkim')
      this.#signature = { domain: '', selector: '', isValid: false }
    else if (this.#parent === 'auth_results' && name === 'spf') this.#spf = { domain: '', isValid: false }
  }

  say(text: string): void {
    this.#textLength += text.length
    if (this.#textLength > maxTextLength) this.refuse('It has a text that is too long.')
    if (this.#text.length < 1_000) this.#text += text.slice(0, 1_000)
  }

  close(): void {
    const text = this.#text
    this.#text = ''
    const parent = this.#parent
    const name = this.#path.pop()
    if (this.isClosed || this.fault !== null || name === undefined) return
    if (name === 'feedback') this.isClosed = true
    else if (name === 'record') this.#keepRow()
    else if (name === 'dkim' && parent === 'auth_results') this.#keepSignature()
    else if (name === 'spf' && parent === 'auth_results') this.#keepSpf()
    else if (this.#row !== null) this.#noteInRow(this.#row, parent, name, text)
    else this.#note(parent, name, text)
  }

  get #parent(): string {
    return this.#path.at(-2) ?? ''
  }

  #note(parent: string, name: string, text: string): void {
    switch (`${parent}/${name}`) {
      case 'report_metadata/org_name':
        this.#reporter = reportText(text, reporterLength)
        break
      case 'report_metadata/email':
        this.#reporterMail = reportText(text, reporterLength)
        break
      case 'report_metadata/report_id':
        this.#reportId = reportText(text, reportIdLength)
        break
      case 'date_range/begin':
        this.#begin = reportTime(text)
        break
      case 'date_range/end':
        this.#end = reportTime(text)
        break
      case 'policy_published/domain':
        this.#policyDomain = reportDomain(text)
        break
      case 'policy_published/p':
        this.#policy = reportText(text, 20).toLowerCase()
    }
  }

  #noteInRow(row: RowDraft, parent: string, name: string, text: string): void {
    switch (`${parent}/${name}`) {
      case 'row/source_ip':
        row.sourceIp = canonicalIp(reportText(text, 100))
        break
      case 'row/count':
        row.messages = reportCount(text)
        break
      case 'policy_evaluated/disposition':
        row.disposition = readDisposition(text)
        break
      case 'policy_evaluated/dkim':
        row.dkim = readResult(text)
        break
      case 'policy_evaluated/spf':
        row.spf = readResult(text)
        break
      case 'reason/type':
        row.override ||= reportText(text, 30).toLowerCase()
        break
      // `identities` in drafts that some still follow.
      case 'identifiers/header_from':
      case 'identities/header_from':
        row.headerFrom = reportDomain(text)
        break
      default:
        this.#noteInResults(parent, name, text)
    }
  }

  #noteInResults(parent: string, name: string, text: string): void {
    const signature = this.#signature
    if (parent === 'dkim' && signature !== null) {
      if (name === 'domain') signature.domain = reportDomain(text)
      else if (name === 'selector') signature.selector = reportText(text, 250).toLowerCase()
      else if (name === 'result') signature.isValid = readResult(text) ?? false
    } else if (parent === 'spf') {
      if (name === 'domain') this.#spf.domain = reportDomain(text)
      else if (name === 'result') this.#spf.isValid = readResult(text) ?? false
    }
  }

  #keepSignature(): void {
    const signature = this.#signature
    this.#signature = null
    if (this.#row === null || signature === null || signature.domain === '') return
    if (this.#row.signatures.length < maxSignatures) this.#row.signatures.push(signature)
  }

  #keepSpf(): void {
    if (this.#row !== null && this.#spf.isValid) this.#row.spfDomain ||= this.#spf.domain
  }

  #startRow(): void {
    if (this.#row === null) this.#elementsOutside = this.#elements - 1
    this.#elements = 0
    this.#row = emptyRow()
  }

  /** A row without a source or a count says nothing. */
  #keepRow(): void {
    const row = this.#row
    if (row !== null) this.#elements = this.#elementsOutside
    this.#row = null
    if (row === null || row.sourceIp === null || row.messages === null) return
    const headerFrom = row.headerFrom || this.#policyDomain
    const read: DmarcRow = {
      ...row,
      sourceIp: row.sourceIp,
      messages: row.messages,
      headerFrom,
      dkim:
        row.dkim ?? row.signatures.some(({ domain, isValid }) => isValid && isRelated(domain, headerFrom)),
      spf: row.spf ?? isRelated(row.spfDomain, headerFrom),
    }
    addRow(this.#rows, read)
  }

  finish(): DmarcReport | string {
    if (this.fault !== null) return this.fault
    const [beginMs, endMs] = [this.#begin, this.#end ?? this.#begin]
    const reporter = this.#reporter || this.#reporterMail.replace(/^.*@/, '')
    if (!this.isClosed) return 'It is no report, or not a whole one: the end of <feedback> is missing.'
    if (this.#policyDomain === '') return 'It does not say which domain it is about.'
    if (reporter === '') return 'It does not say who made it.'
    if (beginMs === null || endMs === null || endMs < beginMs)
      return 'It does not say which time it is about.'
    return {
      kind: 'dmarc',
      reporter,
      // One report per reporter and time is what they are meant to send.
      reportId: this.#reportId || `${beginMs}-${endMs}`,
      beginMs,
      endMs,
      policyDomain: this.#policyDomain,
      policy: this.#policy,
      rows: [...this.#rows.values()],
    }
  }
}

/** Adds up rows that say the same. The first too many and all after it lose what tells them apart, but not how they were judged. */
export function addRow(rows: Map<string, DmarcRow>, row: DmarcRow): void {
  const { messages, ...rest } = row
  const known = rows.get(JSON.stringify(rest))
  if (known !== undefined) known.messages += messages
  else if (rows.size < maxRows || row.sourceIp === '') rows.set(JSON.stringify(rest), { ...row })
  else addRow(rows, { ...row, sourceIp: '', headerFrom: '', signatures: [], spfDomain: '', override: '' })
}

function emptyRow(): RowDraft {
  return {
    sourceIp: null,
    messages: null,
    disposition: 'none',
    dkim: null,
    spf: null,
    headerFrom: '',
    signatures: [],
    spfDomain: '',
    override: '',
  }
}

/** `pass` (RFC 9990) is nothing that was done to a mail. */
function readDisposition(text: string): DmarcDisposition {
  const word = text.trim().toLowerCase()
  return word === 'quarantine' || word === 'reject' ? word : 'none'
}

/** @returns null for what says nothing */
function readResult(text: string): boolean | null {
  const word = text.trim().toLowerCase()
  return word === '' ? null : word === 'pass'
}

/** The same domain, or one below the other: alignment as far as it can be told without asking DNS. */
function isRelated(one: string, other: string): boolean {
  return one !== '' && (one === other || one.endsWith(`.${other}`) || other.endsWith(`.${one}`))
}

/** @returns null for what is no address; IPv4 in IPv6 as IPv4 */
export function canonicalIp(text: string): string | null {
  const version = isIP(text)
  if (version === 4) return text
  if (version !== 6 || text.includes('%')) return null
  const written = new URL(`http://[${text}]`).hostname.slice(1, -1)
  const mapped = /^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/.exec(written)
  if (mapped === null) return written
  const octets = [mapped[1] ?? '', mapped[2] ?? ''].flatMap((group) => [
    Number.parseInt(group, 16) >> 8,
    Number.parseInt(group, 16) & 255,
  ])
  return octets.join('.')
}
