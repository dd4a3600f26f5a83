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
  'inbox',
]

export default defineConfig({
  schema: 'prisma/schema.prisma',
  migrations: { path: 'prisma/migrations' },
  experimental: { externalTables: true },
  tables: { external: handWritten.map((table) => `valija.${table}`) },
  // Only `migrate diff` and friends connect; generating the client does not.
  datasource: { url: process.env.DATABASE_URL ?? 'postgresql://localhost/valija' },
})
