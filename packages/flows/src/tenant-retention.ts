/** Housekeeping for tenants whose mail is kept for a shorter time than others' (store/tenant-retention.ts). */
import { type FieldFault, invalidRequest } from '@valija/core'
import {
  type Database,
  deleteOldMessages,
  deleteOldTraces,
  findRetentions,
  type RetentionPlace,
  redactOldMessages,
  type TenantRetention,
} from '@valija/store'

/** Does all that there is to do now, tenant after tenant. */
export async function keepTenantRetention(database: Database, isStopped: () => boolean): Promise<void> {
  for (const retention of await findRetentions(database.engine)) await keepOne(database, retention, isStopped)
}

async function keepOne(
  database: Database,
  { tenantId, retentionDays, redactAfterDays }: TenantRetention,
  isStopped: () => boolean,
): Promise<void> {
  const exhaust = async (step: () => Promise<number>) => {
    while (!isStopped() && (await step()) > 0);
  }
  if (retentionDays !== null) {
    await exhaust(() => deleteOldTraces(database, tenantId, retentionDays))
    let place: RetentionPlace = null
    do place = await deleteOldMessages(database, tenantId, retentionDays, place)
    while (place !== null && !isStopped())
  }
  if (redactAfterDays !== null) await exhaust(() => redactOldMessages(database, tenantId, redactAfterDays))
}

/** What is told of the retention of a tenant; null: as the installation says. */
export interface RetentionInput {
  retention_days?: number | null
  redact_after_days?: number | null
}

/**
 * @param instanceDays how long the installation keeps events: a tenant's mail is not kept longer
 * @throws {ProductError} invalid_request
 */
export function checkRetention(input: RetentionInput, instanceDays: number): void {
  const faults = (['retention_days', 'redact_after_days'] as const).flatMap((name): FieldFault[] =>
    (input[name] ?? 0) > instanceDays
      ? [
          {
            path: `/${name}`,
            message: `may be ${instanceDays} at most: nothing is kept longer (VALIJA_RETENTION_EVENTS)`,
          },
        ]
      : [],
  )
  if (faults.length > 0) throw invalidRequest(faults)
}
