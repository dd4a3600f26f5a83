import { mkdir, writeFile } from 'node:fs/promises'
import { openStage, runBareFastify, runNodemailerPool, runValija } from './systems.ts'
import { describeProfiles, describeStatements } from './profile.ts'
const mails = Number(process.argv[2] ?? 1000)
const folder = process.argv[3]!
await mkdir(folder, { recursive: true })
const stage = await openStage({ mails, warmUp: 500, connections: 128 })
let statements = ''
try {
  const run = await runValija(stage, (process.argv[4] ?? 'postgres') as 'postgres', folder, async (i) => { statements = await describeStatements(i, 2 * mails + 500) })
  process.stdout.write(JSON.stringify(run, null, 1))
  await writeFile(folder + '/profile.txt', statements + await describeProfiles(folder))
} finally {
  await stage.close()
}
