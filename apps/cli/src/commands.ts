/** The table of all commands. What a command needs to run is loaded when it is asked for. */
import { type Command, command } from './command.ts'
import { auditCommand } from './commands/audit.ts'
import { domainCommands } from './commands/domain.ts'
import { eraseCommands } from './commands/erase.ts'
import { inboxCommands } from './commands/inbox.ts'
import { initCommand } from './commands/init.ts'
import { keyCommands } from './commands/key.ts'
import { mailboxCommands } from './commands/mailbox.ts'
import { messageCommands } from './commands/message.ts'
import { queueCommands } from './commands/queue.ts'
import { restoreCommands } from './commands/restore.ts'
import { routeCommands } from './commands/route.ts'
import { routeListCommands } from './commands/route-list.ts'
import { sendCommand } from './commands/send.ts'
import { sourceCommands } from './commands/source-ip.ts'
import { statsCommand } from './commands/stats.ts'
import { suppressionCommands } from './commands/suppression.ts'
import { templateCommands } from './commands/template.ts'
import { tenantCommands } from './commands/tenant.ts'
import { tlsReportCommand } from './commands/tls-report.ts'
import { webhookCommands } from './commands/webhook.ts'
import { whyCommand } from './commands/why.ts'
import { jsonFlag } from './output.ts'

const processes: readonly Command[] = [
  command({
    name: 'start',
    summary: 'everything on this machine, with an embedded PostgreSQL unless DATABASE_URL is set',
    run: async () => (await import('./start.ts')).start(),
  }),
  initCommand,
  command({
    name: 'api',
    summary: 'one API process',
    run: async () => (await import('@valija/api')).main(),
  }),
  command({
    name: 'worker',
    summary: 'one worker process: delivery, webhooks, sweeps',
    run: async () => (await import('@valija/worker')).main(),
  }),
  command({
    name: 'smtp',
    summary: 'one process that takes mail to send, bounces and complaints over SMTP',
    run: async () => (await import('@valija/smtp')).main(),
  }),
  command({
    name: 'migrate',
    summary: 'brings the database at DATABASE_URL to this version',
    run: async () => (await import('./migrate.ts')).migrateDatabase(),
  }),
  command({
    name: 'doctor',
    summary: 'looks at everything that delivery needs, and how to mend what is wrong',
    flags: {
      connect: { type: 'string', multiple: true, value: '<host[:port]>', help: 'tries this server, too' },
      ...jsonFlag,
    },
    example: 'doctor --connect gmail-smtp-in.l.google.com',
    run: async ({ flags }) => (await import('./doctor.ts')).doctor(flags),
  }),
  ...restoreCommands,
  command({
    name: 'eval-bounces',
    args: '<folder>',
    summary: 'reads the mails in <folder>/mail and tells how far that agrees with <folder>/expected.json',
    flags: jsonFlag,
    run: async ({ args, flags }) => (await import('./eval-bounces.ts')).evalBounces(args[0] ?? '', flags),
  }),
]

export const commands: readonly Command[] = [
  ...processes,
  ...tenantCommands,
  ...keyCommands,
  ...domainCommands,
  sendCommand,
  ...messageCommands,
  whyCommand,
  statsCommand,
  ...suppressionCommands,
  ...templateCommands,
  ...inboxCommands,
  ...mailboxCommands,
  ...routeCommands,
  ...routeListCommands,
  ...sourceCommands,
  tlsReportCommand,
  ...eraseCommands,
  ...queueCommands,
  ...webhookCommands,
  auditCommand,
]
