/** Why the DNS gave no answer, in words for people: they go into attempts and explanations. */
import { RCODE, type Reply } from './wire.ts'

const RCODE_NAMES: Readonly<Record<number, string>> = {
  [RCODE.formErr]: 'FORMERR',
  [RCODE.servFail]: 'SERVFAIL',
  [RCODE.notImp]: 'NOTIMP',
  [RCODE.refused]: 'REFUSED',
}

/** Causes that a resolver adds to a SERVFAIL (RFC 8914 §4), those that help whoever reads them. */
const EXTENDED_ERRORS: Readonly<Record<number, string>> = {
  6: 'DNSSEC validation failed',
  7: 'a DNSSEC signature has expired',
  8: 'a DNSSEC signature is not valid yet',
  9: 'its DNSKEY is missing',
  10: 'its DNSSEC signatures are missing',
  12: 'its DNSSEC proof of absence is missing',
  15: 'blocked by the resolver',
  16: 'censored at the resolver',
  17: 'filtered at the resolver',
  18: 'this machine may not ask that resolver',
  20: 'the resolver is not responsible for it',
  22: "none of the domain's name servers answers",
  23: "the domain's name servers cannot be reached",
}

/** A reply that says nothing about the question. */
export function refusalText(reply: Reply): string {
  if (reply.isReferral) return 'does not resolve names for us (no recursion)'
  const code = RCODE_NAMES[reply.rcode] ?? `response code ${reply.rcode}`
  const cause = reply.extendedError === null ? undefined : EXTENDED_ERRORS[reply.extendedError]
  return cause === undefined ? `answered ${code}` : `answered ${code}: ${cause}`
}
