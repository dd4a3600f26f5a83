/** For how long a tenant's mail and its content are kept, against what the installation does and against one another. */
import { type FieldFault, invalidRequest } from '@valija/core'
import type { RetentionInput } from '@valija/flows'
import type { ApiOptions } from '../../dependencies.ts'

/** @throws {ProductError} invalid_request, with all that is wrong */
export function checkDays(
  { retention_days: retention, redact_after_days: redactAfter }: RetentionInput,
  { retentionDays, contentDays }: Pick<ApiOptions, 'retentionDays' | 'contentDays'>,
): void {
  const ofEvents = 'nothing is kept longer (VALIJA_RETENTION_EVENTS)'
  const ofContent = 'content is kept no longer (VALIJA_RETENTION_CONTENT)'
  const ofMail = 'the mail itself is kept no longer (retention_days)'
  const faults = [
    faultOf('/retention_days', retention, retentionDays, ofEvents),
    faultOf('/redact_after_days', redactAfter, contentDays, ofContent) ??
      faultOf('/redact_after_days', redactAfter, retention, ofMail),
  ].filter((fault) => fault !== null)
  if (faults.length > 0) throw invalidRequest(faults)
}

function faultOf(
  path: string,
  days: number | null | undefined,
  most: number | null | undefined,
  why: string,
): FieldFault | null {
  const isRight = typeof days !== 'number' || typeof most !== 'number' || days <= most
  return isRight ? null : { path, message: `Must be ${most} at most: ${why}.` }
}
