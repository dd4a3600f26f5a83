/**
 * After a change of the secret key (`new,old`): seals anew what the older keys have sealed, until nothing needs them any more.
 *
 * Any worker does this in its housekeeping, several at once share it, and one that dies leaves each value whole, sealed by the one key or the
 * other. It is done in three steps, so that no process ever meets a value that it cannot open:
 *
 *   1. a second proof is written: no process starts any more that does not know the first key
 *   2. once all processes that are connected know it (they tell by their connection's name), the values are sealed anew, some at a time
 *   3. once nobody seals with another key and nothing is left, the proof is sealed anew: the older keys can be dropped
 */
import { SealError, type Sealer, type Uuid, webhookSecretOwner } from '@valija/core'
import {
  countKeyHolders,
  countSealedOtherwise,
  type Database,
  demandFirstKey,
  isKeyChanging,
  isProofOfFirstKey,
  releaseOlderKeys,
  resealSome,
  type SealedKind,
  type SealedValue,
} from '@valija/store'
import { dkimKeyOwner } from './dkim-keys.ts'
import { mailboxPasswordOwner } from './mailbox-password.ts'
import { defaultKeyOwner } from './open-default-tenant.ts'
import { routePasswordOwner } from './route-password.ts'

export interface SealAnewParts {
  database: Database
  sealer: Sealer
  log: (fields: { count: number }, text: string) => void
  onError: (error: Error) => void
  /** Asked between two steps. */
  isStopped: () => boolean
}

/** How it stands: nothing to do, all done, or to be looked at again soon. */
export type SealAnewOutcome = 'nothing_to_do' | 'done' | 'unfinished'

const kinds: readonly SealedKind[] = ['webhook', 'dkim_key', 'route', 'mailbox', 'default_key']
/** In one transaction: some milliseconds, for which these rows are locked. */
const stepSize = 50

/** Owners as they were named when the value was sealed. */
function ownerOf({ kind, tenantId, key }: SealedValue): string {
  const [id, second] = key as [Uuid, string | undefined]
  switch (kind) {
    case 'webhook':
      return webhookSecretOwner(tenantId as Uuid, id)
    case 'dkim_key':
      return dkimKeyOwner(tenantId as Uuid, id, second ?? '')
    case 'route':
      return routePasswordOwner(id)
    case 'mailbox':
      return mailboxPasswordOwner(tenantId, id)
    case 'default_key':
      return defaultKeyOwner
  }
}

/** @throws {RetiredSecretKeyError} when the first key was replaced before: nothing is sealed with it again */
export async function sealAnew(parts: SealAnewParts): Promise<SealAnewOutcome> {
  const { database, sealer, log } = parts
  const [first, ...older] = sealer.fingerprints
  if (first === undefined || older.length === 0 || (await isAllOfFirstKey(parts, first)))
    return 'nothing_to_do'
  if (!(await demandFirstKey(database, sealer))) {
    log({ count: 1 }, 'processes are changing to another first VALIJA_SECRET_KEY: give all the same')
    return 'unfinished'
  }
  const { without } = await countKeyHolders(database.engine, first)
  if (without > 0) {
    log({ count: without }, 'processes do not know the first VALIJA_SECRET_KEY: restart them with it')
    return 'unfinished'
  }
  let resealed = 0
  for (const kind of kinds) resealed += await sealKindAnew(parts, kind, first)
  if (resealed > 0) log({ count: resealed }, 'secrets were sealed anew with the first VALIJA_SECRET_KEY')
  return finish(parts)
}

/** A change to another key that nobody finished is to be undone too: it keeps who has only the first one from starting. */
async function isAllOfFirstKey({ database, sealer }: SealAnewParts, first: Buffer): Promise<boolean> {
  const left = await countSealedOtherwise(database.engine, [first])
  return (
    Object.keys(left).length === 0 &&
    (await isProofOfFirstKey(database, sealer)) &&
    !(await isKeyChanging(database))
  )
}

async function sealKindAnew(parts: SealAnewParts, kind: SealedKind, first: Buffer): Promise<number> {
  const { database, sealer, onError, isStopped } = parts
  const reseal = (value: SealedValue): Buffer | null => {
    try {
      return sealer.seal(sealer.open(value.sealed, ownerOf(value)), ownerOf(value))
    } catch (error) {
      if (!(error instanceof SealError)) throw error
      onError(new SealError(`${kind} ${value.key.join(' ')}: ${error.message}`, { cause: error }))
      return null
    }
  }
  let [resealed, after]: [number, SealedValue | null] = [0, null]
  do {
    const step = await resealSome(database, { kind, after, first, limit: stepSize }, reseal)
    resealed += step.resealed
    after = step.last
  } while (after !== null && !isStopped())
  return resealed
}

async function finish({ database, sealer, log }: SealAnewParts): Promise<SealAnewOutcome> {
  const outcome = await releaseOlderKeys(database, sealer)
  if (outcome === 'still_needed') return 'unfinished'
  if (outcome === 'released') {
    log(
      { count: sealer.fingerprints.length - 1 },
      'nothing is sealed with an older VALIJA_SECRET_KEY any more: it is only needed for bounces of mail of the last 60 days',
    )
  }
  return 'done'
}
