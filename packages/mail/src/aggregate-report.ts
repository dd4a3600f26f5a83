/**
 * Reads what came to a report address: DMARC aggregate reports and TLS reports, packed in whatever way, one or several to a mail.
 */
import { type DmarcReport, readDmarcReport } from './dmarc-report.ts'
import type { ReportAttachment } from './incoming/incoming-mail.ts'
import { reportText } from './report-text.ts'
import { readTlsReport, type TlsReport } from './tls-rpt.ts'
import { createUnpackBudget, UnpackFault, type UnpackLimits, unpackReport } from './unpack-report.ts'

export type AggregateReport = DmarcReport | TlsReport

export interface ReadReports {
  reports: AggregateReport[]
  /** What is wrong with attachments that are no report, for people. */
  faults: string[]
}

/**
 * Takes any octets and throws for none: time and memory are bounded by `limits`, whatever they unpack to.
 *
 * @param attachments of one mail; their names and types are not asked
 */
export async function readAggregateReports(
  attachments: readonly ReportAttachment[],
  limits?: UnpackLimits,
): Promise<ReadReports> {
  const budget = createUnpackBudget(limits)
  const read: ReadReports = { reports: [], faults: [] }
  for (const { filename, content } of attachments) {
    const name = reportText(filename, 200) || 'an attachment'
    try {
      for await (const file of unpackReport(content, budget)) {
        const report = await readReport(decode(file))
        if (typeof report === 'string') read.faults.push(`${name}: ${report}`)
        else read.reports.push(report)
      }
    } catch (error) {
      if (!(error instanceof UnpackFault)) throw error
      read.faults.push(`${name}: ${reportText(error.message, 300)}`)
    }
  }
  return read
}

/** By its first character: JSON begins with a brace. */
async function readReport(pieces: AsyncIterator<string>): Promise<AggregateReport | string> {
  let start = ''
  for (let isDone = false; start.trim() === '' && !isDone && start.length < 2 ** 16; ) {
    const next = await pieces.next()
    if (next.done) isDone = true
    else start += next.value
  }
  async function* all() {
    yield start
    yield* { [Symbol.asyncIterator]: () => pieces }
  }
  try {
    return await (/^[\s\uFEFF]*\{/.test(start) ? readTlsReport(all()) : readDmarcReport(all()))
  } finally {
    await pieces.return?.()
  }
}

/** UTF-8, unless a mark of UTF-16 or the XML declaration says something else (XML 1.0 section 4.3.3 and appendix F). */
async function* decode(pieces: AsyncIterable<Buffer>): AsyncGenerator<string> {
  let decoder: TextDecoder | null = null
  for await (const piece of pieces) {
    decoder ??= createDecoder(piece)
    yield decoder.decode(piece, { stream: true })
  }
}

function createDecoder(start: Buffer): TextDecoder {
  const declared = /^\s*<\?xml[^>]{0,200}encoding\s*=\s*["']([\w.:-]{1,40})["']/i.exec(
    start.toString('latin1', 0, 300),
  )
  const marked = /^\u{FF}\u{FE}/u.test(start.toString('latin1', 0, 2)) ? 'utf-16le' : null
  const bigEndian = /^\u{FE}\u{FF}/u.test(start.toString('latin1', 0, 2)) ? 'utf-16be' : null
  // A declaration that can be read as ASCII is not in UTF-16, whatever it says.
  const label = marked ?? bigEndian ?? (/^(?:utf-?16|ucs)/i.test(declared?.[1] ?? '') ? null : declared?.[1])
  try {
    return new TextDecoder(label ?? 'utf-8')
  } catch {
    return new TextDecoder('utf-8')
  }
}
