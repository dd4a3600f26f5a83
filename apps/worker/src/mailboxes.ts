/** Wires the part of a worker that looks after mailboxes in which bounces land. */
import { formatId, type MailLog, openBounceJudge } from '@valija/core'
import { createNetworkGuard, createOpenMailbox, localAddresses } from '@valija/courier'
import {
  createMailboxWatcher,
  createReportAddresses,
  formatOwner,
  type MailboxLog,
  takeReport,
} from '@valija/flows'
import type { Logger } from '@valija/runtime'
import type { HeldMailbox } from '@valija/store'
import type { WorkerParts } from './worker.ts'

/** Starts looking; it is registered with `life` to be stopped. */
export function startMailboxes(
  { config, foundation, log, life }: Omit<WorkerParts, 'metrics'>,
  mailLog: MailLog,
): void {
  const addresses = createReportAddresses(foundation)
  const desk = { ...foundation, addresses, judgeBounce: openBounceJudge(), mailLog }
  const watcher = createMailboxWatcher({
    ...foundation,
    open: createOpenMailbox({ guard: createNetworkGuard(config.allowNetworks, localAddresses) }),
    take: (mail) => takeReport(desk, mail),
    log: createMailboxLog(log),
    onError: (err) => log.error({ err }, 'mailbox trouble'),
  })
  watcher.start()
  life.onStop({ name: 'mailboxes', stop: () => watcher.stop() })
}

/** The mailboxes' part of the log: fields in a fixed order. What came of a report is in the mail log. */
function createMailboxLog(log: Logger): MailboxLog {
  const fieldsOf = ({ id, tenantId, protocol, host }: HeldMailbox) => ({
    mailbox: formatId('mailbox', id),
    tenant: formatOwner(tenantId),
    protocol,
    host,
  })
  return {
    failed: (mailbox, { code, detail, failures, pauseMs }) =>
      log.warn({ ...fieldsOf(mailbox), code, detail, failures, nextInMs: pauseMs }, 'mailbox failing'),
    recovered: (mailbox) => log.info(fieldsOf(mailbox), 'mailbox recovered'),
    unreadable: (mailbox, uid) =>
      log.warn({ ...fieldsOf(mailbox), uid }, 'a mail in a mailbox cannot be read: it is left where it is'),
  }
}
