import { openStage, runBareFastify, runNodemailerPool, runValija } from './systems.ts'
const mails = Number(process.argv[2] ?? 1000)
const stage = await openStage({ mails, warmUp: 500, connections: 128 })
try {
  process.stdout.write(JSON.stringify({ fastify: await runBareFastify(stage) }) + '\n')
  process.stdout.write(JSON.stringify({ nodemailer: await runNodemailerPool(stage) }) + '\n')
  process.stdout.write(JSON.stringify({ pg: await runValija(stage, 'postgres') }, null, 1) + '\n')
  process.stdout.write(JSON.stringify({ redis: await runValija(stage, 'redis') }, null, 1) + '\n')
} finally {
  await stage.close()
}
