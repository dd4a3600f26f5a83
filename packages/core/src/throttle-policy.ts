/**
 * Shaping: how much mail a receiving site is sent at once, and what its replies change about that (DESIGN 4.15, 4.16).
 *
 * The data are `rules/shaping.yaml` and the operator's file beside it (throttle-policy-file.ts reads both). Here is what they
 * mean: which provider a domain's exchangers belong to, its limits, and which of its rules a reply matches.
 */
import { formatSmtpReply, type SmtpReply } from '@valija/mail'
import type { Reason } from './reasons.ts'
import type { TextPattern } from './text-pattern.ts'

export interface ThrottleLimits {
  /** At the same time, from one source address. */
  connections: number
  mailsPerConnection: number
  /** Null: no limit. */
  mailsPerSecond: number | null
  /** Mail goes over TLS only, whatever the certificate. */
  isTlsRequired: boolean
}

/** Whom a rule blames, and so what it slows: mail from our address, of one sending domain or tenant, or all mail to the site. */
export type ThrottleBlame = 'source_ip' | 'sending_domain' | 'tenant' | 'destination'

export type ThrottleAction =
  | { kind: 'connections'; connections: number }
  | { kind: 'mails_per_connection'; mailsPerConnection: number }
  | { kind: 'rate'; mailsPerSecond: number }
  | { kind: 'suspend' }

export interface ThrottleRule {
  /** The same in every worker and after a restart: what counts and effects are kept by. */
  id: string
  /** Any of these in the reply; empty: whatever it says. */
  texts: readonly TextPattern[]
  /** Any of these reasons; empty: whatever it was. */
  reasons: readonly Reason[]
  /** So often within so long. */
  threshold: { count: number; withinMs: number }
  blame: ThrottleBlame
  action: ThrottleAction
  forMs: number
}

export interface Provider {
  name: string
  /** Suffixes of exchangers' names, and domains. */
  match: { mx: readonly string[]; domains: readonly string[] }
  /** Whether its limits hold for all its sites together, or for each set of exchangers by itself. */
  per: 'provider' | 'site'
  limits: ThrottleLimits
  rules: readonly ThrottleRule[]
}

export interface ThrottlePolicy {
  /** Of sites that belong to no provider. */
  unknown: ThrottleLimits
  /** Of smarthosts, capture and sites in allowed private networks. */
  relay: ThrottleLimits
  /** In order: of two that match equally well the first one counts. */
  providers: readonly Provider[]
  /** Rules for every site, tried after a provider's own. */
  rules: readonly ThrottleRule[]
}

/** A receiver's exchangers, best first. */
export interface ReceivingSite {
  domain: string
  exchangers: readonly string[]
}

/**
 * The provider of a domain: by the domain itself, else by its best exchanger, since that is whom we connect to; the longest
 * suffix wins.
 */
export function providerOf(policy: ThrottlePolicy, { domain, exchangers }: ReceivingSite): Provider | null {
  const byDomain = policy.providers.find(({ match }) => match.domains.includes(domain.toLowerCase()))
  if (byDomain !== undefined) return byDomain
  const name = withoutDot(exchangers[0] ?? '')
  let best: { provider: Provider; length: number } | null = null
  for (const provider of policy.providers) {
    for (const suffix of provider.match.mx) {
      const isMatch = name === suffix || name.endsWith(`.${suffix}`)
      if (isMatch && suffix.length > (best?.length ?? 0)) best = { provider, length: suffix.length }
    }
  }
  return best?.provider ?? null
}

function withoutDot(name: string): string {
  return name.toLowerCase().replace(/\.$/, '')
}

/** Whose limits and rules hold for a scope: by its provider's name, which may have left the file meanwhile. */
export function findProvider(policy: ThrottlePolicy, name: string | null): Provider | null {
  return policy.providers.find((provider) => provider.name === name) ?? null
}

export function limitsFor(
  policy: ThrottlePolicy,
  scope: { provider: string | null; kind: 'mx' | 'relay' },
): ThrottleLimits {
  if (scope.kind === 'relay') return policy.relay
  return findProvider(policy, scope.provider)?.limits ?? policy.unknown
}

/** The first rule that a refusal matches, the provider's own before those for all; null when none does. Relays have none. */
export function matchingRule(
  policy: ThrottlePolicy,
  scope: { provider: string | null; kind: 'mx' | 'relay' },
  refusal: { reply: SmtpReply | null; reason: Reason | null },
): ThrottleRule | null {
  if (scope.kind === 'relay') return null
  const text = refusal.reply === null ? null : formatSmtpReply(refusal.reply)
  const rules = [...(findProvider(policy, scope.provider)?.rules ?? []), ...policy.rules]
  return (
    rules.find(
      ({ texts, reasons }) =>
        (texts.length === 0 || (text !== null && texts.some((isIn) => isIn(text)))) &&
        (reasons.length === 0 || (refusal.reason !== null && reasons.includes(refusal.reason))),
    ) ?? null
  )
}
