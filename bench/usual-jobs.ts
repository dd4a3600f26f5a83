/** What both halves of the usual stack know of its jobs. */
import type { Mail } from './mails.ts'

export const queueName = 'mails'

export interface MailJob {
  /** Of the mail's row. */
  id: string
  mail: Mail
}

/** As the field's examples have it: tried again with a growing pause, and gone once it is done. */
export const keptJobs = {
  attempts: 5,
  backoff: { type: 'exponential', delay: 1_000 },
  removeOnComplete: true,
}
