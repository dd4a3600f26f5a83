/** What is likely to go wrong with a mail that is accepted all the same: for people, in the order in which it matters. */
import type { NewMessage, ParsedMail } from '@valija/store'
import type { Authentication } from './judge-authentication.ts'
import type { SenderStanding } from './sender-standing.ts'

export interface PreviewWarning {
  code: PreviewWarningCode
  /** What it is, and what to do. */
  message: string
}

/** Each with what it means. */
export const previewWarnings = {
  domain_not_verified:
    'the From domain is not verified: it is taken because delivery is capture, and would be refused otherwise',
  suppressed_recipient: 'a recipient would not be sent to',
  not_authenticated: 'neither a signature nor SPF vouches for the From domain',
  refused_by_policy: 'it fails DMARC, and the domain asks receivers to refuse such mail or to put it aside',
  cannot_be_signed: 'it is to be signed, and its key cannot be opened: it would wait',
  not_signed: 'it would leave without a DKIM signature',
  signature_fails: 'a DKIM signature would not pass',
  spf_fails: 'SPF would not pass',
  spf_not_aligned: 'SPF passes for another domain than that of From',
  no_dmarc_record: 'the From domain has no DMARC record',
  dns_trouble: 'the DNS gave no answer, so not all could be evaluated',
  stays_here: 'it is caught on this machine, and sent to nobody',
  simulated: 'recipients are simulated',
  large: 'it is larger than many receivers take',
  clipped: 'its html is longer than Gmail shows',
  no_text: 'it has html and no text',
  no_unsubscribe: 'it is of the stream bulk and has no List-Unsubscribe',
} as const satisfies Record<string, string>
export type PreviewWarningCode = keyof typeof previewWarnings

export interface WarningFacts {
  row: Pick<NewMessage, 'delivery' | 'stream' | 'isSimulated' | 'fromDomain'>
  parsed: Pick<ParsedMail, 'text' | 'html' | 'headers'>
  sizeBytes: number
  authentication: Authentication
  recipients: readonly { email: string; suppressed: string | null }[]
  signingFault: string | null
  standing: SenderStanding
}

/** Gmail, Microsoft 365 and Yahoo say 25 MB, of the mail as it is sent. */
const largeBytes = 25 * 1000 * 1000
/** Gmail shows so much of the html, and a link to the rest. */
const clippedBytes = 102 * 1024

export function findWarnings(facts: WarningFacts): PreviewWarning[] {
  return [
    ...warnOfDomain(facts),
    ...warnOfRecipients(facts),
    ...warnOfAuthentication(facts),
    ...warnOfContent(facts),
  ]
}

function warnOfDomain({ row, standing }: WarningFacts): PreviewWarning[] {
  if (standing.kind !== 'unknown' && standing.kind !== 'unverified') return []
  const what =
    standing.kind === 'unknown'
      ? `${row.fromDomain} is not a domain of this tenant, nor below one`
      : `${standing.name} is not verified`
  const message = `${what}: it is taken because delivery is capture, and POST /send refuses it otherwise. ${adviseDomain(standing)}`
  return [warning('domain_not_verified', message)]
}

/** What to do for mail that nothing vouches for. */
function adviseDomain(standing: SenderStanding): string {
  if (standing.kind === 'unknown') return 'Add it by POST /domains, and publish the records that it shows.'
  if (standing.kind !== 'vouched')
    return `POST /domains/${standing.id}/verify tells what is wrong with its records.`
  return `The operator can have it signed: PATCH /domains/${standing.id} with {"dkim":true} and VALIJA_ADMIN_KEY, once its dkim records are published.`
}

function whyUnsigned({ row, standing }: WarningFacts): string {
  if (standing.kind === 'unknown') return `${row.fromDomain} is not a domain of this tenant`
  if (standing.kind === 'unverified') return `${standing.name} is not verified`
  if (standing.kind === 'vouched') return `the operator vouches for ${standing.name} without DKIM`
  return 'no key’s record was seen in DNS'
}

function warnOfRecipients({ row, recipients }: WarningFacts): PreviewWarning[] {
  const suppressed = recipients.filter((recipient) => recipient.suppressed !== null)
  return [
    ...suppressed.slice(0, 10).map(({ email, suppressed: reason }) => {
      return warning(
        'suppressed_recipient',
        `${email} is suppressed (${reason}) and would not be sent to: see GET /suppressions.`,
      )
    }),
    ...(row.isSimulated ? [warning('simulated', 'Recipients are simulated: nothing is sent to them.')] : []),
    ...(row.delivery === 'capture'
      ? [warning('stays_here', 'Delivery is capture: it ends in GET /inbox and is sent to nobody.')]
      : []),
  ]
}

function warnOfAuthentication(facts: WarningFacts): PreviewWarning[] {
  const { row, authentication, signingFault, standing } = facts
  const { verdict, dkim, spf, dmarc } = authentication
  const warnings: PreviewWarning[] = []
  const warn = (code: PreviewWarningCode, message: string) => warnings.push(warning(code, message))
  const see = adviseDomain(standing)
  if (signingFault !== null) warn('cannot_be_signed', `${signingFault} It would wait until it can.`)
  if (dmarc.result === 'fail' && (dmarc.policy === 'reject' || dmarc.policy === 'quarantine')) {
    warn('refused_by_policy', `It fails DMARC, and ${dmarc.domain} says p=${dmarc.policy}. ${see}`)
  } else if (verdict === 'fail') {
    warn(
      'not_authenticated',
      `Nothing vouches for ${row.fromDomain}: large receivers refuse such mail. ${see}`,
    )
  }
  if (dkim.length === 0) warn('not_signed', `It would not be signed: ${whyUnsigned(facts)}. ${see}`)
  for (const { selector, domain, algorithm, result, detail } of dkim) {
    if (result === 'pass') continue
    warn(
      'signature_fails',
      `The signature ${algorithm} by ${selector} of ${domain} does not pass (${detail ?? result}). ${see}`,
    )
  }
  warnings.push(...warnOfSpf(spf))
  if (dmarc.result === 'none') {
    warn(
      'no_dmarc_record',
      `${row.fromDomain} has no DMARC record, which large receivers want of whoever sends much.`,
    )
  }
  if (dmarc.result === 'temperror') warn('dns_trouble', 'The DNS did not answer all questions: ask again.')
  return warnings
}

function warnOfSpf({ result, domain, ip, aligned, detail }: Authentication['spf']): PreviewWarning[] {
  if (result === 'unknown') return []
  if (result === 'temperror') return [warning('dns_trouble', 'The DNS did not answer about SPF: ask again.')]
  if (result !== 'pass') {
    const why = detail === null ? result : `${result}: ${detail}`
    return [warning('spf_fails', `The SPF record of ${domain} does not let ${ip} send (${why}).`)]
  }
  if (aligned) return []
  const message = `SPF passes for ${domain}, which is not the domain of From: publish the alias of the return path, so that it is.`
  return [warning('spf_not_aligned', message)]
}

function warnOfContent({ row, parsed, sizeBytes }: WarningFacts): PreviewWarning[] {
  const { text, html, headers } = parsed
  const warnings: PreviewWarning[] = []
  const warn = (code: PreviewWarningCode, message: string) => warnings.push(warning(code, message))
  if (sizeBytes > largeBytes) {
    warn('large', `It has ${Math.ceil(sizeBytes / 1e6)} MB; many receivers take no more than 25 MB.`)
  }
  if (html !== null && Buffer.byteLength(html) > clippedBytes) {
    warn(
      'clipped',
      'Its html is longer than the 102 KB that Gmail shows: the end would be hidden behind a link.',
    )
  }
  if (html !== null && text === null)
    warn('no_text', 'It has html only. Give text too: some readers show nothing else.')
  if (row.stream === 'bulk' && !headers.some(({ name }) => name.toLowerCase() === 'list-unsubscribe')) {
    warn('no_unsubscribe', 'It is bulk mail without List-Unsubscribe, which large receivers ask for.')
  }
  return warnings
}

function warning(code: PreviewWarningCode, message: string): PreviewWarning {
  return { code, message }
}
