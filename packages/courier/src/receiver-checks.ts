/**
 * SPF, DKIM and DMARC as a receiving server would evaluate them (RFC 7208, 6376, 9989), by mailauth and our own resolver.
 *
 * mailauth is loaded when it is first needed: it takes half a second and 35 MB, and most processes never ask.
 */
import type { DnsAnswer, DnsType, Resolver } from './dns/dns-answer.ts'

export interface SpfVerdict {
  result: 'pass' | 'fail' | 'softfail' | 'neutral' | 'none' | 'temperror' | 'permerror'
  /** Why, where it is an error; a sentence. */
  detail: string | null
  /** The domain's own record, if it has one. */
  record: string | null
  /** Of the ten that RFC 7208 §4.6.4 allows; where there are more, eleven. */
  lookUps: number
}

export interface DkimVerdict {
  domain: string
  selector: string
  /** `rsa-sha256`, `ed25519-sha256`. */
  algorithm: string
  result: 'pass' | 'fail' | 'neutral' | 'none' | 'temperror' | 'permerror' | 'policy'
  detail: string | null
}

export interface DmarcVerdict {
  /** `none`: no record applies. */
  result: 'pass' | 'fail' | 'none' | 'temperror'
  /** What the record asks to be done with mail that fails; null without one. */
  policy: string | null
  /** Where the record was found. */
  policyDomain: string | null
  spfAligned: boolean
  /** Domains of signatures that are aligned. */
  dkimAligned: ReadonlySet<string>
  detail: string | null
}

/** RFC 7208 §4.6.4: evaluation may end after 20 s. */
const spfTimeMs = 20_000
const maxLookUps = 10

/** @param input.sender the envelope's */
export async function checkSpf(
  resolver: Resolver,
  input: { ip: string; sender: string; helo: string },
): Promise<SpfVerdict> {
  const { spf } = await import('mailauth/lib/spf/index.js')
  const evaluated = await spf({
    ...input,
    mta: 'receiver.invalid',
    strict: true,
    maxElapsedTime: spfTimeMs,
    resolver: forMailauth(resolver),
  })
  const { result, comment } = evaluated.status
  const isError = result === 'permerror' || result === 'temperror'
  return {
    result: isSpfResult(result) ? result : 'temperror',
    detail: isError ? readComment(comment) : null,
    record: evaluated.rr ?? null,
    lookUps: Math.min(evaluated.lookups?.count ?? 0, maxLookUps + 1),
  }
}

const spfResults = ['pass', 'fail', 'softfail', 'neutral', 'none', 'temperror', 'permerror'] as const
function isSpfResult(result: string): result is SpfVerdict['result'] {
  return spfResults.some((known) => known === result)
}

/** mailauth's "<mta>: <what is told of every error> <sender>: <why>". */
function readComment(comment: string | undefined): string | null {
  return comment?.replace(/^receiver\.invalid: .*?(?:lookup of \S+: |$)/, '').trim() || null
}

/** One verdict for each signature of the mail, from the top. */
export async function checkDkim(resolver: Resolver, mail: Buffer): Promise<DkimVerdict[]> {
  const { dkimVerify } = await import('mailauth/lib/dkim/verify.js')
  const { results } = await dkimVerify(mail, { resolver: forMailauth(resolver), strict: true })
  return results
    .filter(({ signature }) => signature !== undefined)
    .map(({ signingDomain, selector, algo, status }) => ({
      domain: signingDomain ?? '',
      selector: selector ?? '',
      algorithm: algo ?? '',
      result: isDkimResult(status.result) ? status.result : 'neutral',
      detail: status.result === 'pass' ? null : (status.comment ?? null),
    }))
}

const dkimResults = ['pass', 'fail', 'neutral', 'none', 'temperror', 'permerror', 'policy'] as const
function isDkimResult(result: string): result is DkimVerdict['result'] {
  return dkimResults.some((known) => known === result)
}

/** @param passed the domains that SPF and DKIM vouch for */
export async function checkDmarc(
  resolver: Resolver,
  fromDomain: string,
  passed: { spf: string | null; dkim: readonly string[] },
): Promise<DmarcVerdict> {
  const { evaluateDmarc } = await import('mailauth/lib/dmarc/index.js')
  const { response, dkimAligned = new Set<string>() } = await evaluateDmarc({
    headerFrom: fromDomain,
    spfDomains: passed.spf === null ? [] : [passed.spf],
    dkimDomains: passed.dkim.map((domain) => ({ domain })),
    resolver: forMailauth(resolver),
    strict: true,
  })
  const none: DmarcVerdict = {
    result: 'none',
    policy: null,
    policyDomain: null,
    spfAligned: false,
    dkimAligned,
    detail: null,
  }
  if (response === false) return none
  const { result } = response.status
  if (result === 'none') return none
  const isKnown = result === 'pass' || result === 'fail'
  return {
    result: isKnown ? result : 'temperror',
    policy: response.policy ?? null,
    policyDomain: response.policyDomain ?? null,
    spfAligned: response.alignment?.spf.result !== undefined,
    dkimAligned,
    detail: isKnown ? null : 'The DNS gave no answer.',
  }
}

/** Our resolver in the shape of node:dns, whose errors tell by their code what there is not. */
function forMailauth(resolver: Resolver) {
  return async (name: string, type: string): Promise<string[][] | string[]> => {
    if (!isAsked(type)) throw dnsError('ENODATA', name)
    const answer = await resolver.resolve(name, type)
    if (answer.kind === 'records') return inShapeOfNode(type, answer)
    const codes = { no_data: 'ENODATA', unknown_name: 'ENOTFOUND', unavailable: 'ESERVFAIL' }
    throw dnsError(codes[answer.kind], name)
  }
}

const askedTypes = ['A', 'AAAA', 'MX', 'TXT', 'CNAME', 'PTR'] as const
function isAsked(type: string): type is (typeof askedTypes)[number] {
  return askedTypes.some((known) => known === type)
}

function inShapeOfNode(type: DnsType, { records }: Extract<DnsAnswer<DnsType>, { kind: 'records' }>) {
  if (type === 'TXT') return records.map((text) => [String(text)])
  // mailauth's types know only texts; of MX it takes what node:dns gives.
  return records as string[]
}

function dnsError(code: string, name: string): Error {
  return Object.assign(new Error(`${code} ${name}`), { code })
}
