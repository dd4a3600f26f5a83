/**
 * Who makes a request, after authentication: what routes and flows decide by. Made in one place
 * (packages/flows/src/authenticate.ts), never from a request's body.
 */
import type { Scope } from './api-key.ts'
import type { Uuid } from './ids.ts'
import type { SizeLimit } from './size-limits.ts'
import type { UsageLimit, UsageState } from './usage-limits.ts'

export interface Caller {
  tenantId: Uuid
  /** Null when the operator acts for the tenant. */
  keyId: Uuid | null
  scopes: ReadonlySet<Scope>
  /** Sender domains that the key is bound to; empty: all of the tenant's. */
  domains: readonly string[]
  /** The only recipients (addresses, or domains written `@example.test`) that the key may send to; empty: all. */
  recipients: readonly string[]
  /** The route that the key's mails take; null: the usual one. */
  route: string | null
  isOperator: boolean
  /** The tenant that `npm start` made: may send from any domain while delivery is `capture`. */
  isDefaultTenant: boolean
  /** Recipients of the tenant that may wait; null: as many as of any. */
  queuedLimit: number | null
  limits: CallerLimits
}

/** What the tenant and the key may do at most, beside what holds for everybody. */
export interface CallerLimits {
  usage: readonly UsageLimit[]
  size: readonly SizeLimit[]
  /** The tenant is suspended: nothing is accepted for it. */
  isSuspended: boolean
  /** What was found of each limit of usage, as far as the request drew from it: the answer's headers tell it. */
  seen: UsageState[]
}

/** Those of somebody for whom none is set. */
export function noLimits(): CallerLimits {
  return { usage: [], size: [], isSuspended: false, seen: [] }
}
