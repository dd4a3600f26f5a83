/** @valija/courier: outgoing SMTP and HTTP, the guard against private networks, and the local capture receiver. */
export { type CapturedMail, type CaptureReceiver, startCaptureReceiver } from './capture-receiver.ts'
export { createNetworkGuard, guardLookup, isPublicAddress, type NetworkGuard } from './network-guard.ts'
export { createOpenSession } from './open-session.ts'
export { createOutgoingHttp, type HttpFailure, type HttpResult, type OutgoingHttp } from './outgoing-http.ts'
export { captureTarget, type SmarthostConfig, smarthostTarget } from './routes.ts'
export {
  defaultDeadlines,
  type Envelope,
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
