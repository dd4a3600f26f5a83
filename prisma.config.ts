/** Prisma's settings (v7): where the schema is, and which tables are not Prisma's to change. */
import { defineConfig } from 'prisma/config'

const handWritten = [
  'messages',
  'bodies',
  'recipients',
  'attempts',
  'events',
  'deliveries',
  'idempotency_keys',
  'webhook_outbox',
  'webhook_tries',
  'webhook_replays',
  'inbox',
  'mta_sts_policies',
  'tls_reports',
  'route_health',
  'warm_ups',
  'suppressions',
  'suppression_removals',
  'mailbox_faults',
  'provider_unknown_rates',
  'shaping_sites',
  'shaping_permits',
  'shaping_rates',
  'shaping_holds',
  'shaping_witnesses',
  'destinations',
  'queue_depth',
  'usage',
  'taken_reports',
  'mailbox_mails',
  'domain_reports',
  'domain_dmarc_counts',
  'domain_tls_counts',
]

export default defineConfig({
  schema: 'prisma/schema.prisma',
  migrations: { path: 'prisma/migrations' },
  experimental: { externalTables: true },
  tables: { external: handWritten.map((table) => `valija.${table}`) },
  // Only `migrate diff` and friends connect; generating the client does not.
  datasource: { url: process.env.DATABASE_URL ?? 'postgresql://localhost/valija' },
})
