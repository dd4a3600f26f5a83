/** What RFCs say about a mail, pure: the public face of the package. */
export * from './address.ts'
export * from './aggregate-report.ts'
export * from './compose.ts'
export * from './dkim.ts'
export * from './dkim-record.ts'
export * from './dmarc-record.ts'
export {
  canonicalIp,
  type DmarcDisposition,
  type DmarcReport,
  type DmarcRow,
  type ReportedSignature,
} from './dmarc-report.ts'
export * from './incoming/index.ts'
export * from './mailbox.ts'
export { type MimeMail, parseMime } from './parse-mime.ts'
export { parseMimeApart } from './parse-mime-apart.ts'
export * from './raw-message.ts'
export * from './record-fault.ts'
export * from './report-address.ts'
export type { SignedFault, SignedReading } from './signed-local-part.ts'
export * from './smtp-reply.ts'
export * from './spf-record.ts'
export * from './take-fields.ts'
export type { TlsFailure, TlsPolicyReport, TlsReport } from './tls-rpt.ts'
export * from './unsubscribe-fields.ts'
export * from './verp.ts'
export * from './zone-file.ts'
