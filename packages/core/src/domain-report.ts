/**
 * What the reports about a sender domain mean, and what to do: DMARC by source (RFC 7489, RFC 9990), TLS by failure (RFC 8460).
 * Reports are what others say, and anybody can send some: nothing but these sentences follows from them.
 */

/** A source whose mails did not pass: neither a valid signature nor a passed SPF was of the domain in From. */
export interface FailingSource {
  /** Empty: those of a report that had too many. */
  ip: string
  /** Whether the address is one that we send from. */
  isOurs: boolean
  /** What became of a signature of ours: one by a selector of this domain. */
  signature: 'valid' | 'broken' | 'none'
  /** The domain of another valid signature, or for which SPF passed; empty without one. */
  signedBy: string
  spfDomain: string
  headerFrom: string
  /** Why the receiver let mails pass all the same, in its words (`forwarded`, `mailing_list` …); empty without one. */
  override: string
}

export const dmarcCauses = [
  'own_signature_broken',
  'own_unsigned',
  'not_aligned',
  'forwarded',
  'other_service',
  'unauthenticated',
  'many_sources',
] as const
export type DmarcCause = (typeof dmarcCauses)[number]

export interface ReportAdvice<Cause extends string = string> {
  cause: Cause
  meaning: string
  fix: string
}

/** The first that is true decides. */
export function judgeSource(source: FailingSource): ReportAdvice<DmarcCause> {
  const cause = findCause(source)
  return { cause, ...dmarcAdvice[cause](source) }
}

const forwardings = ['forwarded', 'trusted_forwarder', 'mailing_list']

function findCause(source: FailingSource): DmarcCause {
  if (source.ip === '') return 'many_sources'
  if (source.signature === 'valid') return 'not_aligned'
  if (source.isOurs) return source.signature === 'broken' ? 'own_signature_broken' : 'own_unsigned'
  if (source.signature === 'broken' || forwardings.includes(source.override)) return 'forwarded'
  return source.signedBy !== '' || source.spfDomain !== '' ? 'other_service' : 'unauthenticated'
}

const dmarcAdvice: Record<DmarcCause, (source: FailingSource) => Omit<ReportAdvice, 'cause'>> = {
  own_signature_broken: ({ ip }) => ({
    meaning: `Mails of this installation (${ip}) came with a signature that did not verify.`,
    fix: 'Ask POST /domains/:id/verify whether the DKIM records are right. If they are, something behind Valija changes mails on their way: a relay that adds a footer, or rewrites headers.',
  }),
  own_unsigned: ({ ip }) => ({
    meaning: `Mails of this installation (${ip}) came without a signature of this domain, and the return path is of another one.`,
    fix: 'Publish the DKIM records that GET /domains/:id lists, and verify them: mails are signed only with records that were seen right. A return-path record makes SPF count as well.',
  }),
  not_aligned: ({ headerFrom }) => ({
    meaning: `Mails were signed rightly, but not for ${headerFrom || 'the domain in From'}.`,
    fix: 'Add the domain in From as a domain of its own, or, if it lies below this one, publish adkim=r in the DMARC record.',
  }),
  forwarded: ({ ip }) => ({
    meaning: `Somebody passed your mails on from ${ip}, and changed them: a mailing list, or a forwarding mailbox.`,
    fix: 'Nothing is wrong with your set-up. Signed mails survive most forwarding; lists that change them are lost at receivers that keep to p=reject.',
  }),
  other_service: ({ ip, signedBy, spfDomain, headerFrom }) => ({
    meaning: `A server of ${signedBy || spfDomain} (${ip}) sends with ${headerFrom || 'your domain'} in From.`,
    fix: 'If it is a service that you use, let it sign with your domain (it calls that domain authentication). If not, it passes your mails on, or abuses your name: p=quarantine or p=reject in the DMARC record stops that.',
  }),
  unauthenticated: ({ ip, headerFrom }) => ({
    meaning: `${ip} sends with ${headerFrom || 'your domain'} in From, and with nothing that shows that it may.`,
    fix: 'If you know the server, send through Valija, or give it a signature and a place in the SPF record. If not, somebody abuses your name: p=quarantine or p=reject in the DMARC record stops that.',
  }),
  many_sources: () => ({
    meaning: 'The report named more sources than are kept one by one; these are the rest.',
    fix: 'So many sources are rarely yours: p=quarantine or p=reject in the DMARC record stops those who abuse your name.',
  }),
}

/** Failures by their names (RFC 8460 section 4.3). */
const tlsAdvice: Readonly<Record<string, Omit<ReportAdvice, 'cause'>>> = {
  'starttls-not-supported': {
    meaning: 'The host did not offer STARTTLS.',
    fix: 'Switch STARTTLS on there, and see whether a firewall takes it out of the conversation.',
  },
  'certificate-host-mismatch': {
    meaning: 'The certificate does not hold the name of the host.',
    fix: 'Get one with the name that the MX record gives.',
  },
  'certificate-expired': {
    meaning: 'The certificate is out of date.',
    fix: 'Renew it, and let the mail server load the new one each time.',
  },
  'certificate-not-trusted': {
    meaning: 'No authority that the sender trusts stands behind the certificate.',
    fix: 'Serve one of a public authority, with the intermediate certificates.',
  },
  'validation-failure': {
    meaning: 'TLS failed in a way that the sender does not name.',
    fix: 'Try it: openssl s_client -starttls smtp -connect <host>:25. Old versions and ciphers are the usual cause.',
  },
  'tlsa-invalid': {
    meaning: 'The TLSA record does not fit the certificate.',
    fix: 'Publish the record of the present certificate; before it is changed, that of the next one besides.',
  },
  'dnssec-invalid': {
    meaning: 'The signatures of the DNS zone could not be verified.',
    fix: 'Mend DNSSEC: the DS record at the registrar, and signatures out of date, are the usual causes.',
  },
  'dane-required': {
    meaning: 'The sender wants DANE, and there was no TLSA record for it.',
    fix: 'Publish one, in a zone that DNSSEC signs; or it is a matter of the sender’s own.',
  },
  'sts-policy-fetch-error': {
    meaning: 'The MTA-STS policy could not be fetched.',
    fix: 'See that https://mta-sts.<domain>/.well-known/mta-sts.txt answers 200 with a valid certificate.',
  },
  'sts-policy-invalid': {
    meaning: 'The MTA-STS policy is not valid.',
    fix: 'It needs version, mode, max_age and a line mx: for each host (RFC 8461 section 3.2).',
  },
  'sts-webpki-invalid': {
    meaning: 'The web server of the MTA-STS policy showed no valid certificate.',
    fix: 'Give mta-sts.<domain> a valid certificate of a public authority.',
  },
}

/** @param result a name of RFC 8460, or what a reporter made up */
export function judgeTlsFailure(result: string): Omit<ReportAdvice, 'cause'> {
  const advice = Object.hasOwn(tlsAdvice, result) ? tlsAdvice[result] : undefined
  return (
    advice ?? {
      meaning: 'The reporter does not say in known words why sessions failed.',
      fix: 'Ask its contact address; the report’s own name for it is in `reason`.',
    }
  )
}
