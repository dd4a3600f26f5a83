/**
 * Whether a mail would pass with a receiving server: its DKIM signatures, the SPF record of its return path, and DMARC over both,
 * evaluated as a receiver does, with what DNS says now.
 */
import {
  checkDkim,
  checkDmarc,
  checkSpf,
  type DkimVerdict,
  type Resolver,
  type SpfVerdict,
} from '@valija/courier'
import type { SendingHost } from './domain-hosts.ts'
import { registeredDomain } from './domain-records.ts'

export interface Authentication {
  /** `unknown`: it hangs on what cannot be known from here, such as the address that a relay sends from. */
  verdict: 'pass' | 'fail' | 'unknown'
  dkim: (Pick<DkimVerdict, 'domain' | 'selector' | 'algorithm' | 'result' | 'detail'> & {
    aligned: boolean
  })[]
  spf: {
    domain: string
    /** The address that it was evaluated for: of several, one that does not pass. */
    ip: string | null
    result: SpfVerdict['result'] | 'unknown'
    aligned: boolean
    detail: string | null
  }
  dmarc: {
    result: 'pass' | 'fail' | 'none' | 'temperror' | 'unknown'
    /** What receivers are asked to do with mail that fails. */
    policy: string | null
    /** Where the record was found. */
    domain: string | null
  }
}

export interface AuthenticationInput {
  /** Signed, as it would be sent. */
  mail: Buffer
  fromDomain: string
  envelopeFrom: string
  /** Who receivers would see; empty: not known. */
  senders: readonly SendingHost[]
}

/** A receiver sees one of them; more than these would keep the asker waiting. */
const maxSenders = 4

export async function judgeAuthentication(
  resolver: Resolver,
  { mail, fromDomain, envelopeFrom, senders }: AuthenticationInput,
): Promise<Authentication> {
  const envelopeDomain = envelopeFrom.slice(envelopeFrom.lastIndexOf('@') + 1)
  const [signatures, spf] = await Promise.all([
    checkDkim(resolver, mail),
    judgeSpf(resolver, envelopeFrom, senders),
  ])
  const passed = signatures.filter(({ result }) => result === 'pass').map(({ domain }) => domain)
  // Alignment is of the names alone, whatever passes.
  const names = { spf: envelopeDomain, dkim: signatures.map(({ domain }) => domain) }
  const [aligned, dmarc] = await Promise.all([
    checkDmarc(resolver, fromDomain, names),
    checkDmarc(resolver, fromDomain, { spf: spf.result === 'pass' ? envelopeDomain : null, dkim: passed }),
  ])
  const isAligned = (domain: string) =>
    aligned.result === 'none' ? registeredDomain(domain) === registeredDomain(fromDomain) : null
  const spfAligned = isAligned(envelopeDomain) ?? aligned.spfAligned
  const dkim = signatures.map(({ domain, selector, algorithm, result, detail }) => {
    return {
      domain,
      selector,
      algorithm,
      result,
      aligned: isAligned(domain) ?? aligned.dkimAligned.has(domain),
      detail,
    }
  })
  const isOpen = spf.result === 'unknown' && spfAligned
  const hasPassed =
    dkim.some((one) => one.result === 'pass' && one.aligned) || (spf.result === 'pass' && spfAligned)
  const verdict = hasPassed ? 'pass' : isOpen || dmarc.result === 'temperror' ? 'unknown' : 'fail'
  return {
    verdict,
    dkim,
    spf: { domain: envelopeDomain, ...spf, aligned: spfAligned },
    dmarc: {
      result: dmarc.result === 'fail' && isOpen ? 'unknown' : dmarc.result,
      policy: dmarc.policy,
      domain: dmarc.policyDomain,
    },
  }
}

async function judgeSpf(
  resolver: Resolver,
  sender: string,
  senders: readonly SendingHost[],
): Promise<Pick<Authentication['spf'], 'ip' | 'result' | 'detail'>> {
  if (senders.length === 0) {
    return { ip: null, result: 'unknown', detail: 'The address that receivers would see is not known here.' }
  }
  const verdicts = await Promise.all(
    senders.slice(0, maxSenders).map(async ({ ip, ehloName }) => {
      const { result, detail } = await checkSpf(resolver, { ip, helo: ehloName, sender })
      return { ip, result, detail }
    }),
  )
  const [first] = verdicts
  const worst = verdicts.find(({ result }) => result !== 'pass') ?? first
  return worst ?? { ip: null, result: 'unknown', detail: null }
}
