/**
 * The envelope sender of a delivery (DESIGN 4.9, 4.10): a signed address of ours that names message and recipient, at the sender
 * domain's own host where DNS was seen to lead that to us, else at VALIJA_BOUNCE_DOMAIN; without one, the From address as it is.
 * A route may ask for another one.
 */
import type { Sealer, Uuid } from '@valija/core'
import { returnPath } from '@valija/mail'
import { type Database, findReturnPathDomains, type LeasedDelivery, type Wake } from '@valija/store'
import { createBriefMemory } from './brief-memory.ts'
import type { ChosenRoute } from './route-choice.ts'
import { namesThatCover } from './sender-domains.ts'

const dayMs = 86_400_000

/** What a return path says, and whose domain it is for. */
export type ReturnPathSource = Pick<
  LeasedDelivery,
  'tenantId' | 'messageId' | 'ordinal' | 'createdAt' | 'sendAt' | 'fromEmail' | 'fromDomain'
>

export interface ReturnPaths {
  /** Rejects when the database has to be asked and cannot be. */
  of(delivery: ReturnPathSource, route: Pick<ChosenRoute, 'returnPath'>): Promise<string>
  /** Stops listening for changed domains. */
  close(): void
}

export interface ReturnPathParts {
  /** VALIJA_BOUNCE_DOMAIN. */
  bounceDomain: string | null
  sealer: Sealer
  database: Database
  wake: Pick<Wake, 'on'>
}

/** Hosts of so many pairs of tenant and domain; a change that no wake-up told of is noticed this soon. */
const rememberedDomains = 10_000
const lifetimes = { positiveMs: 60_000, negativeMs: 60_000 }

/**
 * The day in the address is the day on which the mail became due first, so every attempt has the same return path without
 * anything being kept (greylisting goes by it), unless the domain's host was seen or lost in between.
 */
export function createReturnPaths({ bounceDomain, sealer, database, wake }: ReturnPathParts): ReturnPaths {
  const secret = sealer.signingKeys('return path')[0]!
  const hosts = createBriefMemory<string>(
    rememberedDomains,
    async (question) => {
      const [tenantId = '', domain = ''] = question.split(' ')
      return bounceDomain && findHost(database, tenantId, domain, bounceDomain)
    },
    lifetimes,
  )
  const stopListening = wake.on('keys', (changed) => {
    // An API key's hash (64 digits) changes no domain.
    if (changed.length !== 64) hosts.forget(() => true)
  })
  return {
    of: async (delivery, { returnPath: kind }) => {
      if (kind.kind === 'fixed') return kind.address
      const { tenantId, fromDomain, fromEmail, messageId, ordinal, sendAt, createdAt } = delivery
      if (kind.kind === 'from' || bounceDomain === null) return fromEmail
      const day = Math.floor((sendAt ?? createdAt).getTime() / dayMs)
      const host = (await hosts.get(`${tenantId} ${fromDomain}`)) ?? bounceDomain
      return returnPath({ messageId, ordinal, day }, secret, host)
    },
    close: stopListening,
  }
}

/** The nearest verified domain decides, as it does at acceptance and for signatures. */
async function findHost(
  database: Database,
  tenantId: Uuid,
  fromDomain: string,
  bounceDomain: string,
): Promise<string | null> {
  const names = namesThatCover(fromDomain)
  const domains = await findReturnPathDomains(database.engine, names, bounceDomain)
  const nearest = names.find((name) => domains.some((domain) => domain.name === name))
  return domains.find((domain) => domain.name === nearest && domain.tenantId === tenantId)?.host ?? null
}
