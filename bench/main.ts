/**
 * `npm run bench`: what Valija accepts and delivers, and what that costs, beside nodemailer's pool in a script and a bare
 * Fastify route, in interleaved rounds on the same machine. Linux only, because CPU time is read from /proc.
 *
 *   npm run bench                            5 rounds of 10,000 mails of everything, more than an hour; writes bench/RESULTS.md
 *   npm run bench -- --quick                 1 round of 1,000 mails in less than 3 minutes, printed only: the main ratios
 *     --mails <n>  --rounds <n>              of each phase; default 10000 and 5
 *     --parts <some of them>                 throughput,mails,exchangers,realistic,singles,idle; default all
 *                                              mails: a code of 1 KB, a page of 100 KB, 200 KB of PDF
 *                                              exchangers: to 1, 10 and 1,000 of the recipients' own
 *                                              realistic: RSA-2048, TLS 1.3, 1,000 exchangers, 40 ms round trips, 100 KB
 *     --queue postgres|redis|both            default both where redis-server is installed
 *     --signing unsigned,rsa,ed25519,both    how mails are signed; default all (nodemailer: with and without its own, by RSA)
 *     --workers 1,2                          processes that deliver, of Valija and of nodemailer's script
 *     --connections <n>                      of the load; default 128
 *     --round-trip <ms>  --pause <ms>  --tls the sink is so far away, thinks so long after a final dot, offers TLS 1.3 (which only
 *                                              delivery to exchangers makes use of); default none of it
 *     --out <file>                           where the report goes; default bench/RESULTS.md, with --quick nowhere;
 *                                              charts, and the data as JSON, into the folder `charts` beside it
 *     --set <name>=<value>                   a PostgreSQL setting for Valija's database, to try what it is worth
 *     --growth                               instead: with many waiting, domains and tenants, against none; writes bench/GROWTH.md
 *       --waiting 10000,100000,1000000  --domains 1,100,10000  --tenants 1,100,1000
 *     --profile <folder>                     instead: one run with CPU profiles and PostgreSQL's statements, to profile.txt there
 *
 * Exit code 1 and no figures when a mail was lost, doubled or not recorded.
 */
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'
import fastify from 'fastify/package.json' with { type: 'json' }
import nodemailer from 'nodemailer/package.json' with { type: 'json' }
import { headerComment } from '../tools/header-comment.ts'
import { drawGrowth, drawResults, type Figure } from './figures.ts'
import { measureGrowth } from './growth.ts'
import { formatGrowth } from './growth-report.ts'
import { runIdle } from './idle.ts'
import { mailServers } from './mail-servers.ts'
import { createBodyWriter, plainReceipt } from './mails.ts'
import { readSettings, redisVersion, type Settings, say } from './options.ts'
import type { Measurement } from './phase.ts'
import { describeProfiles, describeStatements } from './profile.ts'
import { formatResults, type Results } from './report.ts'
import { measureThroughput, openRound } from './rounds.ts'
import { runValija } from './run-valija.ts'
import { runSingles } from './singles.ts'
import { openStage, type Stage } from './stage.ts'
import type { Installation } from './valija.ts'
import { measureExchangers, measureMails, measureRealistic } from './variations.ts'

const command = ['npm run bench', ...(process.argv.length > 2 ? ['--', ...process.argv.slice(2)] : [])].join(
  ' ',
)

async function measureAll(stage: Stage, settings: Settings): Promise<Results> {
  const measurements: Measurement[] = []
  const versions = readVersions(settings)
  const inspect = async (installation: Installation) => {
    const [row] = await installation.query<{ version: string }>(
      `SELECT current_setting('server_version') AS version`,
    )
    versions.PostgreSQL = row?.version ?? ''
  }
  for (let number = 1; number <= settings.rounds; number++) {
    const round = openRound(number, settings.rounds, measurements)
    if (settings.parts.has('throughput')) await measureThroughput(stage, round, settings, inspect)
    const [queue = 'postgres'] = settings.queues
    if (settings.parts.has('mails')) await measureMails(settings, round, queue)
    if (settings.parts.has('exchangers')) await measureExchangers(settings, round, queue)
    if (settings.parts.has('realistic')) await measureRealistic(settings, round, queue)
  }
  const singles: Results['singles'] = {}
  for (const queue of settings.parts.has('singles') ? settings.queues : []) {
    say(`single mails, queue in ${queue}`)
    singles[queue] = await runSingles(stage, queue, settings.singles)
  }
  if (settings.parts.has('idle')) say('npm start, idle')
  const idle = settings.parts.has('idle') ? await runIdle(settings.idleS) : null
  return {
    command,
    date: new Date(),
    mails: settings.mails,
    connections: settings.connections,
    requestBytes: createBodyWriter(plainReceipt)(1).length,
    sink: settings.sink,
    versions,
    absent: mailServers.flatMap(({ name, absence }) => (absence() === null ? [] : [`${name}: ${absence()}`])),
    measurements,
    singles,
    idle,
  }
}

function readVersions({ queues }: Settings): Record<string, string> {
  const redis = queues.includes('redis') ? redisVersion() : null
  return {
    Node: process.versions.node,
    nodemailer: nodemailer.version,
    Fastify: fastify.version,
    ...(redis && { Redis: redis }),
  }
}

async function profile(stage: Stage, { queues, signings, workers }: Settings, folder: string): Promise<void> {
  await mkdir(folder, { recursive: true })
  let statements = ''
  const inspect = async (installation: Installation) => {
    statements = await describeStatements(installation, stage.warmUp + 2 * stage.mails)
  }
  const [queue = 'postgres', signing = 'unsigned', count = 1] = [queues[0], signings[0], workers[0]]
  const variant = { queue, signing, workers: count }
  await runValija(stage, variant, new Set(['alone']), { profileFolder: folder, inspect })
  const file = path.join(folder, 'profile.txt')
  await writeFile(file, `${statements}\n${await describeProfiles(folder)}`)
  say(`written: ${file}`)
}

async function grow(settings: Settings): Promise<void> {
  const rows = await measureGrowth(settings)
  const results = { command, date: new Date(), mails: settings.mails, rows }
  await publish(settings, results, drawGrowth(rows), (charts) => formatGrowth(results, charts))
}

/** Shows a report, and writes it where it belongs: its charts into a folder beside it, and what it was made of as JSON. */
async function publish(
  { out }: Settings,
  results: object,
  figures: Figure[],
  format: (charts: { title: string; file: string }[]) => string,
): Promise<void> {
  process.stdout.write(format([]))
  if (out === null) return
  const folder = path.join(path.dirname(out), 'charts')
  await mkdir(folder, { recursive: true })
  for (const { file, svg } of figures) await writeFile(path.join(folder, file), svg)
  await writeFile(out, format(figures.map(({ title, file }) => ({ title, file: `charts/${file}` }))))
  const { name } = path.parse(out)
  await writeFile(path.join(folder, `${name.toLowerCase()}.json`), `${JSON.stringify(results)}\n`)
}

async function main(): Promise<void> {
  if (process.argv.slice(2).some((argument) => argument === '--help' || argument === '-h')) {
    process.stdout.write(`${headerComment(await readFile(import.meta.filename, 'utf8'))}\n`)
    return
  }
  const settings = readSettings(process.argv.slice(2))
  // What tests start their processes with ends its process at this signal; here everything is stopped in order (stage.ts).
  process.removeAllListeners('SIGTERM')
  if (settings.isGrowth) return await grow(settings)
  const stage = await openStage(settings)
  try {
    if (settings.profileFolder !== null) return await profile(stage, settings, settings.profileFolder)
    const results = await measureAll(stage, settings)
    const figures = drawResults(results.measurements)
    await publish(settings, results, figures, (charts) => formatResults(results, charts))
  } finally {
    await stage.close()
  }
}

await main().catch((error: Error) => {
  say(`void: ${error.message}`)
  process.exitCode = 1
})
