/** Rotating an endpoint's secret: the new one is shown once, the former signs beside it for a while. */
import {
  type Caller,
  conflict,
  createWebhookSecret,
  joinWebhookSecrets,
  ProductError,
  parseId,
  SealError,
  type Sealer,
  secretOverlap,
  splitWebhookSecrets,
  webhookSecretOwner,
} from '@valija/core'
import { maxSigningSecrets, rotateWebhookSecret } from '@valija/store'
import type { WebhookDesk } from './manage-webhooks.ts'

export interface RotatedSecretView {
  secret: string
  former_secret_until: string | null
}

/**
 * @param overlapS how long former secrets sign on, in seconds; 0: not at all, for one that leaked
 * @throws {ProductError} not_found; conflict when too many secrets sign already
 */
export async function rotateSecret(
  desk: WebhookDesk,
  caller: Caller,
  id: string,
  overlapS: number = secretOverlap.usualS,
): Promise<RotatedSecretView> {
  const { tenantId } = caller
  const uuid = parseId('webhook', id)
  if (uuid === null) throw new ProductError('not_found')
  const secret = createWebhookSecret()
  const owner = webhookSecretOwner(tenantId, uuid)
  const renew = (sealed: Buffer, keptSecrets: number): Buffer => {
    const former = keptSecrets === 0 ? [] : openSecrets(desk.sealer, sealed, owner)
    return desk.sealer.seal(joinWebhookSecrets([secret, ...former.slice(0, keptSecrets)]), owner)
  }
  const place = { tenantId, id: uuid, overlapMs: overlapS * 1000 }
  const rotated = await rotateWebhookSecret(desk.database, place, renew)
  if (rotated === null) throw new ProductError('not_found')
  if (rotated === 'crowded')
    throw conflict('full', {
      detail: `${maxSigningSecrets} secrets sign for this webhook already; wait until one ends, or end them all by "overlap_seconds": 0.`,
    })
  return { secret, former_secret_until: rotated.formerSecretUntil?.toISOString() ?? null }
}

/** Secrets that no configured key opens sign nothing any more: the new one is the way out of that. */
function openSecrets(sealer: Sealer, sealed: Buffer, owner: string): string[] {
  try {
    return splitWebhookSecrets(sealer.open(sealed, owner))
  } catch (error) {
    if (error instanceof SealError) return []
    throw error
  }
}
