/**
 * The examination behind `valija doctor`: everything that an installation needs to deliver, each with what is wrong and how to mend
 * it. It changes nothing and sends no mail. All parts run side by side, each within its deadline.
 */
import path from 'node:path'
import { createResolver } from '@valija/courier'
import { readRedisFacts } from '@valija/store'
import { type Check, examined } from './check.ts'
import { judgeInstallation, judgeServer } from './database.ts'
import { examineDisks } from './disk.ts'
import { examineOutside } from './examine-outside.ts'
import { type ExaminedInstallation, publicWorld, type World } from './examined-installation.ts'
import { judgePublicUrl } from './public-url.ts'
import { judgeBacklog, judgePostgresQueue, judgeRedis, type RedisLook } from './queue.ts'
import { lookAtStored, type StoredState } from './stored-state.ts'
import { examineCertificate } from './tls-certificate.ts'

const dayMs = 86_400_000
/** One look-up in all; a name takes three in a row. */
const lookUpMs = 6_000

/** Never rejects. The order is that of the parts, for people who read from above. */
export async function examineInstallation(
  installation: ExaminedInstallation,
  world: World = publicWorld,
): Promise<Check[]> {
  const { database, secretKeys, dnsServers } = installation
  const stored = lookAtStored(database, secretKeys)
  const resolver = createResolver({ servers: dnsServers, timeoutMs: lookUpMs })
  try {
    const parts = await Promise.all([
      ...examineInside(installation, stored),
      ...examineOutside({ installation, world, stored, resolver }),
    ])
    return parts.flat()
  } finally {
    resolver.close()
  }
}

/** What delivery stands on. */
function examineInside(
  {
    redisUrl,
    dataFolder,
    certificate,
    ownNames,
    publicUrl,
    delivery,
    retentionEventsMs,
  }: ExaminedInstallation,
  stored: Promise<StoredState>,
): Promise<readonly Check[]>[] {
  return [
    examined('database', async () => judgeServer((await stored).server)),
    examined('secret_key', async () =>
      judgeInstallation((await stored).installation, Math.ceil(retentionEventsMs / dayMs)),
    ),
    examined('queue', async () =>
      redisUrl === null
        ? judgePostgresQueue((await stored).installation)
        : judgeRedis(await lookAtRedis(redisUrl)),
    ),
    examined('backlog', async () => judgeBacklog((await stored).installation)),
    examined('disk', async () => {
      const { server } = await stored
      if (server.kind !== 'facts') return examineDisks(dataFolder === null ? [] : [dataFolder])
      // The embedded one, which works in its own folder, tells a relative name.
      const postgres = dataFolder === null ? server.facts.localFolder : path.join(dataFolder, 'postgres')
      return examineDisks([dataFolder, postgres].filter((folder) => folder !== null))
    }),
    examined('tls_certificate', () => examineCertificate(certificate, ownNames)),
    examined('public_url', async () => [judgePublicUrl(publicUrl, delivery)]),
  ]
}

async function lookAtRedis(url: string): Promise<RedisLook> {
  try {
    return { kind: 'facts', facts: await readRedisFacts(url) }
  } catch (error) {
    return { kind: 'unreachable', error }
  }
}
