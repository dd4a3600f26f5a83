/** `valija migrate`: brings the database to this version. Safe to run twice, and by several at the same time. */
import { environment, loadConfig } from '@valija/runtime'
import { migrate, migrateQueue } from '@valija/store'

export async function migrateDatabase(): Promise<void> {
  const config = loadConfig(environment(), 'migrate')
  const databaseUrl = config.databaseUrl ?? ''
  const applied = await migrate(databaseUrl)
  await migrateQueue(databaseUrl)
  const text = applied.length === 0 ? 'nothing to do' : applied.join(', ')
  process.stdout.write(`migrated: ${text}\n`)
}
