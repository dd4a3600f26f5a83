/** @valija/courier: outgoing SMTP and HTTP, the guard against private networks, and the local capture receiver. */
export { type CapturedMail, type CaptureReceiver, startCaptureReceiver } from './capture-receiver.ts'
export type { Destination, SessionPeer, ShapingScope } from './destination.ts'
export { type MxCandidate, orderCandidates } from './dns/candidate-order.ts'
export type { DnsAnswer, DnsRecords, DnsType, Resolver, TlsaRecord } from './dns/dns-answer.ts'
export { type MailExchangers, type MxHost, resolveMailExchangers } from './dns/mail-exchangers.ts'
export { createResolver, type ResolverOptions } from './dns/resolver.ts'
export { reverseName } from './dns/reverse-name.ts'
export { type DnsServerAddress, serverList } from './dns/server-list.ts'
export {
  defaultMailboxLimits,
  MailboxFailure,
  type MailboxLimits,
  type MailboxMail,
  type MailboxSession,
  type MailboxTarget,
} from './mailbox/mailbox.ts'
export { createOpenMailbox, type OpenMailbox } from './mailbox/open-mailbox.ts'
export { type MxSource, mxDestination } from './mx-destination.ts'
export {
  createNetworkGuard,
  guardLookup,
  isPublicAddress,
  localAddresses,
  type NetworkGuard,
} from './network-guard.ts'
export { isWantOfSockets, noSocketPauseMs, noSocketText } from './no-socket.ts'
export { createOpenFirst, createOpenSession } from './open-first.ts'
export {
  createOutgoingHttp,
  type HttpDocument,
  type HttpFailure,
  type HttpResult,
  type OutgoingHttp,
} from './outgoing-http.ts'
export { type GreetingLimits, type GreetingResult, readGreeting } from './read-greeting.ts'
export {
  checkDkim,
  checkDmarc,
  checkSpf,
  type DkimVerdict,
  type DmarcVerdict,
  type SpfVerdict,
} from './receiver-checks.ts'
export { relayDestination } from './relay-destination.ts'
export { captureTarget, type Smarthost, smarthostTarget } from './routes.ts'
export {
  defaultDeadlines,
  type Envelope,
  longestConversationMs,
  type OpenFirst,
  type Opening,
  type OpenSession,
  type PhaseDeadlines,
  type Session,
  type SessionTarget,
  type TransactionContext,
  type TransactionGuard,
} from './session.ts'
export {
  createSiteScheduler,
  type SiteJob,
  type SiteLimits,
  type SiteScheduler,
  type SiteSchedulerParts,
} from './site-scheduler.ts'
export { type ConnectionGrant, createFixedShaper, type SiteNow, type SiteShaper } from './site-shaper.ts'
export * from './tls-policy/index.ts'
export { openWebHttp } from './web-http.ts'
