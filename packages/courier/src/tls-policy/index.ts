/** What TLS a domain's exchangers must offer, and counts of how it went. */
export { matchesTlsa, type TlsaMatch, usableTlsa } from './dane.ts'
export { strongest, type TlsDemand } from './demand.ts'
export type { StoredStsPolicy, StsPolicyCache } from './mta-sts.ts'
export { resolverLookup } from './resolver-lookup.ts'
export {
  type ReportedPolicy,
  type TlsFailure,
  type TlsPolicyType,
  tlsFailures,
  tlsOutcomeOf,
} from './tls-failure.ts'
export {
  createTlsPolicies,
  type DomainTlsPolicy,
  type ExchangersToJudge,
  type HostTlsPolicy,
  type TlsPolicies,
  type TlsPolicyParts,
} from './tls-policies.ts'
export { createTlsReports, type TlsCount, type TlsReportParts, type TlsReports } from './tls-reports.ts'
