/** For how long a tenant's mail and its content are kept, against what the installation does and against one another. */
import { invalidRequest } from '@valija/core'
import { checkRetention, type RetentionInput } from '@valija/flows'
import type { ApiOptions } from '../../dependencies.ts'

/** @throws {ProductError} invalid_request */
export function checkDays(
  input: RetentionInput,
  { retentionDays, contentDays }: Pick<ApiOptions, 'retentionDays' | 'contentDays'>,
): void {
  checkRetention(input, retentionDays)
  const redactAfter = input.redact_after_days ?? 0
  const path = '/redact_after_days'
  if (redactAfter > contentDays) {
    const message = `may be ${contentDays} at most: content is kept no longer (VALIJA_RETENTION_CONTENT)`
    throw invalidRequest([{ path, message }])
  }
  if (redactAfter > (input.retention_days ?? redactAfter)) {
    const message = `may be ${input.retention_days} at most: the mail itself is kept no longer (retention_days)`
    throw invalidRequest([{ path, message }])
  }
}
