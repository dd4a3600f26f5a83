/** `valija restore`: what becomes of mail that may have been delivered after the time that PostgreSQL was set back to. At the database. */
import { type Command, command } from '../command.ts'
import { jsonFlag } from '../output.ts'

const details =
  'At DATABASE_URL, with VALIJA_SECRET_KEY; docs/operations.md, "Backup and restore", says when. Mail of tenants that are set to at_most_once is never sent again: its recipients fail, with "uncertain": true.'

const filterFlags = {
  tenant: { type: 'string', value: '<id>', help: 'only that tenant’s' },
  stream: { type: 'string', value: '<stream>', help: 'only transactional, or only bulk' },
  ...jsonFlag,
} as const

export const restoreCommands: readonly Command[] = [
  command({
    name: 'restore',
    summary: 'what is held since the database was set back to an earlier time',
    details,
    flags: jsonFlag,
    example: 'restore',
    run: async ({ flags }) => (await import('../restore-mail.ts')).show(flags),
  }),
  command({
    name: 'restore hold',
    summary: 'holds all mail that may have been delivered since; before any worker is started',
    details,
    flags: {
      'lost-at': {
        type: 'string',
        value: '<time>',
        help: 'when the database was lost (RFC 3339): what is due later was not come to. Without it, everything that is due by now',
      },
      ...jsonFlag,
    },
    example: 'restore hold --lost-at 2026-11-27T16:05:00Z',
    run: async ({ flags }) => (await import('../restore-mail.ts')).hold(flags),
  }),
  command({
    name: 'restore release',
    summary: 'sends what is held again, with the same Message-ID and bytes',
    details,
    flags: filterFlags,
    example: 'restore release --stream transactional',
    run: async ({ flags }) => (await import('../restore-mail.ts')).release(flags),
  }),
  command({
    name: 'restore end',
    summary: 'ends what is held: it fails as uncertain, and is not sent again',
    details,
    flags: filterFlags,
    example: 'restore end --stream bulk',
    run: async ({ flags }) => (await import('../restore-mail.ts')).end(flags),
  }),
]
