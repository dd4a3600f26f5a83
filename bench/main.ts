/**
 * `npm run bench`: what Valija accepts and delivers, and what that costs, beside what most people write (Fastify, a BullMQ job for each mail,
 * nodemailer; where redis-server is installed), nodemailer's pool in a script, a bare Fastify route and, where they are installed, Postfix and Haraka,
 * in interleaved rounds on the same machine. Linux only, because CPU time is read from /proc.
 *
 *   npm run bench                            5 rounds of everything in 20 to 50 minutes; writes bench/RESULTS.md, after each round anew
 *   npm run bench -- --quick                 1 round of 2,000 mails in less than 3 minutes, printed only: the main ratios
 *     --mails <n>  --rounds <n>              of each phase (a part of them where mails are large); default 4000 and 5
 *     --parts <some of them>                 throughput,mails,exchangers,realistic,tarpit,singles,idle; default all
 *                                              mails: a code of 1 KB, a page of 100 KB, 200 KB of PDF
 *                                              exchangers: to 1, 10 and 1,000 of the recipients' own
 *                                              realistic: RSA-2048, TLS 1.3, 1,000 exchangers, 40 ms round trips, 3,000 mails of 100 KB
 *                                              tarpit: to 100 exchangers, of which 10 are silent after the final dot, or none
 *     --queue postgres|redis|both            default both where redis-server is installed
 *     --signing unsigned,rsa,ed25519,both    how mails are signed; default all (nodemailer: with and without its own, by RSA)
 *     --workers 1,2                          processes that deliver, of Valija and of nodemailer's script
 *     --connections <n>                      of the load; default 128
 *     --round-trip <ms>  --pause <ms>  --tls the sink is so far away, thinks so long after a final dot, offers TLS 1.3 (which only
 *                                              delivery to exchangers makes use of); default none of it
 *     --out <file>                           where the report goes; default bench/RESULTS.md, with --quick nowhere;
 *                                              charts, and the data as JSON, into the folder `charts` beside it
 *     --set <name>=<value>                   a PostgreSQL setting for Valija's database, to try what it is worth
 *     --growth                               instead, in 15 to 25 minutes: with many waiting, domains and tenants, against none;
 *                                              writes bench/GROWTH.md
 *       --waiting 10000,100000,1000000  --domains 1,100,10000  --tenants 1,100,1000
 *     --profile <folder>                     instead: one run with profiles of CPU and allocations, and PostgreSQL's
 *                                              statements, to profile.txt there
 *
 * A run in which a mail was lost, doubled or not recorded has no figures; the report names it, and the exit code is 1. After Ctrl-C
 * the report has what was measured until then.
 */
import { existsSync } from 'node:fs'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { headerComment } from '../tools/header-comment.ts'
import { drawGrowth, drawResults, type Figure } from './figures.ts'
import { type GrowthRow, growthSteps } from './growth.ts'
import { formatGrowth, type GrowthResults } from './growth-report.ts'
import { measureAll, readPostgresVersion, readVersions } from './measure-all.ts'
import { readSettings, type Settings, say } from './options.ts'
import { describeProfiles, describeStatements } from './profile.ts'
import { type Failure, runSteps } from './progress.ts'
import { formatResults, type Results } from './report.ts'
import { runValija } from './run-valija.ts'
import { onStage } from './stage.ts'
import type { Installation } from './valija.ts'

const command = ['npm run bench', ...(process.argv.length > 2 ? ['--', ...process.argv.slice(2)] : [])].join(
  ' ',
)
/** Written by hand, beside the report. */
const shortfallsFile = 'SHORTFALLS.md'

async function profile(settings: Settings, folder: string): Promise<void> {
  await mkdir(folder, { recursive: true })
  let statements = ''
  const [queue = 'postgres'] = settings.queues
  const [signing = 'unsigned'] = settings.signings
  const [workers = 1] = settings.workers
  const inspect = async (installation: Installation) => {
    statements = await describeStatements(installation, settings.warmUp + 2 * settings.mails)
  }
  await onStage({ ...settings, inspect }, async (stage) => {
    await runValija(stage, { queue, signing, workers }, new Set(['alone']), folder)
  })
  const file = path.join(folder, 'profile.txt')
  await writeFile(file, `${statements}\n${await describeProfiles(folder)}`)
  say(`written: ${file}`)
}

/** A report, and where it belongs: its charts into a folder beside it, and what it was made of as JSON. */
interface Report {
  results: object
  figures: Figure[]
  format(charts: { title: string; file: string }[]): string
}

const reportOf = (results: Results): Report => ({
  results,
  figures: drawResults(results.measurements),
  format: (charts) => formatResults(results, charts),
})

const growthReportOf = (results: GrowthResults): Report => ({
  results,
  figures: drawGrowth(results.rows),
  format: (charts) => formatGrowth(results, charts),
})

async function save({ out }: Settings, { results, figures, format }: Report): Promise<void> {
  if (out === null) return
  const folder = path.join(path.dirname(out), 'charts')
  await mkdir(folder, { recursive: true })
  for (const { file, svg } of figures) await writeFile(path.join(folder, file), svg)
  await writeFile(out, format(figures.map(({ title, file }) => ({ title, file: `charts/${file}` }))))
  const { name } = path.parse(out)
  await writeFile(path.join(folder, `${name.toLowerCase()}.json`), `${JSON.stringify(results)}\n`)
}

async function conclude(settings: Settings, report: Report & { results: Results | GrowthResults }) {
  process.stdout.write(report.format([]))
  await save(settings, report)
  const { failures, unfinished } = report.results
  if (failures.length > 0 || unfinished !== null) process.exitCode = 1
}

async function measureGrowth(settings: Settings, isStopped: () => boolean): Promise<GrowthResults> {
  const rows: GrowthRow[] = []
  const versions = readVersions(settings)
  const results = { command, date: new Date(), versions, mails: settings.mails, rows }
  const inspect = (installation: Installation) => readPostgresVersion(installation, versions)
  const steps = growthSteps({ ...settings, inspect }, rows)
  let done = 0
  const left = () => (done < steps.length ? `${done} of ${steps.length} lines` : null)
  const after = async (_: object, failures: Failure[]) => {
    done += 1
    await save(settings, growthReportOf({ ...results, failures, unfinished: left() }))
  }
  const failures = await runSteps(steps, { say, isStopped, after })
  return { ...results, failures, unfinished: left() }
}

/** Ends the run after what it does at present, whose programs end at the same signals (stage.ts). */
function watchSignals(): () => boolean {
  let isStopped = false
  // What tests start their processes with ends its process at this signal; here everything is stopped in order.
  process.removeAllListeners('SIGTERM')
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => {
      isStopped = true
    })
  }
  return () => isStopped
}

async function main(): Promise<void> {
  if (process.argv.slice(2).some((argument) => argument === '--help' || argument === '-h')) {
    process.stdout.write(`${headerComment(await readFile(import.meta.filename, 'utf8'))}\n`)
    return
  }
  const settings = readSettings(process.argv.slice(2))
  const isStopped = watchSignals()
  if (settings.profileFolder !== null) return await profile(settings, settings.profileFolder)
  if (settings.isGrowth) {
    const results = await measureGrowth(settings, isStopped)
    return await conclude(settings, { ...growthReportOf(results), results })
  }
  const folder = settings.out === null ? import.meta.dirname : path.dirname(settings.out)
  const shortfalls = existsSync(path.join(folder, shortfallsFile)) ? shortfallsFile : null
  const results = await measureAll(settings, {
    command,
    shortfalls,
    isStopped,
    save: (soFar) => save(settings, reportOf(soFar)),
  })
  await conclude(settings, { ...reportOf(results), results })
}

await main().catch((error: Error) => {
  say(`void: ${error.message}`)
  process.exitCode = 1
})
