/** Interleaved rounds: in each, every system has its turn, so that what else the machine does meanwhile falls on all of them. */
import { mailServers, runMailServer } from './mail-servers.ts'
import { type Part, say } from './options.ts'
import { runBareFastify, runNodemailerPool } from './others.ts'
import type { Measurement, Phase, Section } from './phase.ts'
import { type OptionalPhase, runValija, type ValijaRun } from './run-valija.ts'
import type { Stage } from './stage.ts'
import type { Installation, QueueBackend, Signing } from './valija.ts'

export interface RoundOptions {
  queues: QueueBackend[]
  signings: Signing[]
  workers: number[]
  parts: ReadonlySet<Part>
}

export interface Round {
  /** Counts from 1. */
  number: number
  name: string
  enter(section: Section, system: string, phase: Phase, bases?: Record<string, string>): void
}

export function openRound(number: number, of: number, measurements: Measurement[]): Round {
  return {
    number,
    name: `round ${number} of ${of}`,
    enter: (section, system, phase, bases = {}) =>
      void measurements.push({ round: number, section, system, bases, phase }),
  }
}

const signingNames: Record<Signing, string> = {
  unsigned: '',
  rsa: ', RSA-2048',
  ed25519: ', Ed25519',
  both: ', RSA-2048 and Ed25519',
}
const workerNames = (count: number, noun: string) => (count === 1 ? '' : `, ${count} ${noun}`)
const nodemailerName = (isSigned: boolean, processes: number) =>
  `nodemailer pool${isSigned ? signingNames.rsa : ''}${workerNames(processes, 'processes')}`

/** Everything with the receipt of 10 KB and the sink as smarthost. */
export async function measureThroughput(
  stage: Stage,
  round: Round,
  options: RoundOptions,
  inspect: (installation: Installation) => Promise<void>,
): Promise<void> {
  say(`${round.name}: bare Fastify`)
  round.enter('accept', 'bare Fastify', await runBareFastify(stage), { '× bare Fastify': 'bare Fastify' })
  const withDkim = options.signings.some((signing) => signing === 'rsa' || signing === 'both')
  for (const processes of options.workers) {
    for (const isSigned of withDkim ? [false, true] : [false]) {
      const name = nodemailerName(isSigned, processes)
      say(`${round.name}: ${name}`)
      round.enter('whole', name, await runNodemailerPool(stage, { isSigned, processes }), basesOf(isSigned))
    }
  }
  for (const server of mailServers.filter((each) => each.absence() === null)) {
    say(`${round.name}: ${server.name}`)
    round.enter('whole', server.name, await runMailServer(stage, server), basesOf(false))
  }
  for (const queue of options.queues) {
    for (const signing of options.signings) {
      for (const workers of options.workers) {
        await measureVariant(stage, round, { queue, signing, workers }, inspect)
      }
    }
  }
}

/** nodemailer in one process that signs by RSA as well, or not. */
const basesOf = (isSigned: boolean): Record<string, string> => ({
  '× nodemailer': nodemailerName(isSigned, 1),
})

async function measureVariant(
  stage: Stage,
  round: Round,
  variant: { queue: QueueBackend; signing: Signing; workers: number },
  inspect: (installation: Installation) => Promise<void>,
): Promise<void> {
  const { queue, signing, workers } = variant
  const system = `Valija, queue in ${queue}${signingNames[signing]}${workerNames(workers, 'workers')}`
  say(`${round.name}: ${system}`)
  const isPlain = signing === 'unsigned' && workers === 1
  const phases: OptionalPhase[] = isPlain ? ['open', 'alone'] : workers === 1 ? ['open'] : []
  const run = await runValija(stage, variant, new Set(phases), { inspect })
  const bases = basesOf(signing === 'rsa' || signing === 'both')
  for (const { name } of mailServers) bases[`× ${name}`] = name
  enterRun(round, system, run, bases)
}

function enterRun(round: Round, system: string, run: ValijaRun, bases: Record<string, string>): void {
  round.enter('whole', system, run.whole, bases)
  if (run.open) round.enter('open', system, run.open)
  if (run.accept) round.enter('accept', system, run.accept, { '× bare Fastify': 'bare Fastify' })
  if (run.backlog) round.enter('backlog', system, run.backlog, bases)
}
