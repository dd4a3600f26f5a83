/**
 * The envelope sender of a delivery (DESIGN 4.9, 4.10): a signed address of ours that names message and recipient, where
 * bounces have a host to go to; else the From address as it is.
 */
import type { Sealer } from '@valija/core'
import { returnPath } from '@valija/mail'
import type { LeasedDelivery } from '@valija/store'

const dayMs = 86_400_000

/**
 * The day in the address is the day on which the mail became due first, so every attempt has the same return path without
 * anything being kept (greylisting goes by it).
 */
export function createReturnPath(options: {
  bounceDomain: string | null
  sealer: Sealer
}): (delivery: LeasedDelivery) => string {
  const { bounceDomain } = options
  if (bounceDomain === null) return (delivery) => delivery.fromEmail
  const secret = options.sealer.signingKeys('return path')[0]!
  return ({ messageId, ordinal, createdAt, sendAt }) => {
    const day = Math.floor((sendAt ?? createdAt).getTime() / dayMs)
    return returnPath({ messageId, ordinal, day }, secret, bounceDomain)
  }
}
