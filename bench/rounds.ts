/** What a round measures with the receipt of 10 KB and the sink as smarthost: a step for each system, so they take turns. */
import { mailServers, runMailServer } from './mail-servers.ts'
import type { Settings } from './options.ts'
import { runBareFastify, runNodemailerPool } from './others.ts'
import type { Measurement, Phase, Section } from './phase.ts'
import { redisVersion } from './redis-server.ts'
import { type OptionalPhase, runValija, type ValijaRun } from './run-valija.ts'
import { onStage } from './stage.ts'
import { runUsualStack } from './usual-stack.ts'
import type { QueueBackend, Signing } from './valija.ts'

export interface Round {
  /** Counts from 1. */
  number: number
  enter(section: Section, system: string, phase: Phase, bases?: Record<string, string>): void
}

/** What takes its turn in each round. */
export interface Turn {
  name: string
  guessS: number
  run(round: Round): Promise<void>
}

export function openRound(number: number, measurements: Measurement[]): Round {
  return {
    number,
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

const usualName = (isSigned: boolean) =>
  `the usual stack: Fastify, a BullMQ job and an UPDATE for each mail, nodemailer${isSigned ? signingNames.rsa : ''}`

export const valijaName = (queue: QueueBackend, signing: Signing = 'unsigned', workers = 1): string =>
  `Valija, queue in ${queue}${signingNames[signing]}${workerNames(workers, 'workers')}`

export function throughputTurns(settings: Settings): Turn[] {
  const { queues, signings, workers } = settings
  const withDkim = signings.some((signing) => signing === 'rsa' || signing === 'both')
  const bare: Turn = {
    name: 'bare Fastify',
    guessS: 3,
    run: async (round) => round.enter('accept', 'bare Fastify', await onStage(settings, runBareFastify)),
  }
  const scripts = workers.flatMap((processes) =>
    (withDkim ? [false, true] : [false]).map((isSigned) => nodemailerTurn(settings, isSigned, processes)),
  )
  // Without Redis there is none of it: BullMQ's queue in PostgreSQL is not what people use.
  const usual =
    redisVersion() === null
      ? []
      : (withDkim ? [false, true] : [false]).map((isSigned) => usualTurn(settings, isSigned))
  const servers = mailServers
    .filter((server) => server.absence() === null)
    .map((server): Turn => {
      const run = () => onStage(settings, (stage) => runMailServer(stage, server))
      return {
        name: server.name,
        guessS: 13,
        run: async (round) => round.enter('whole', server.name, await run(), basesOf(false)),
      }
    })
  const ours = queues.flatMap((queue) =>
    signings.flatMap((signing) =>
      workers.map((count) => valijaTurn(settings, { queue, signing, workers: count })),
    ),
  )
  return [bare, ...scripts, ...usual, ...servers, ...ours]
}

/** nodemailer in one process that signs by RSA as well, or not. */
const basesOf = (isSigned: boolean): Record<string, string> => ({
  '× nodemailer': nodemailerName(isSigned, 1),
  '× usual stack': usualName(isSigned),
})

function nodemailerTurn(settings: Settings, isSigned: boolean, processes: number): Turn {
  const name = nodemailerName(isSigned, processes)
  const run = () => onStage(settings, (stage) => runNodemailerPool(stage, { isSigned, processes }))
  return {
    name,
    guessS: 9,
    run: async (round) => round.enter('whole', name, await run(), basesOf(isSigned)),
  }
}

function usualTurn(settings: Settings, isSigned: boolean): Turn {
  const name = usualName(isSigned)
  const run = () => onStage(settings, (stage) => runUsualStack(stage, isSigned))
  return {
    name,
    guessS: 14,
    run: async (round) => round.enter('whole', name, await run(), basesOf(isSigned)),
  }
}

function valijaTurn(
  settings: Settings,
  variant: { queue: QueueBackend; signing: Signing; workers: number },
): Turn {
  const { queue, signing, workers } = variant
  const name = valijaName(queue, signing, workers)
  const isPlain = signing === 'unsigned' && workers === 1
  const phases: OptionalPhase[] = isPlain ? ['open', 'alone'] : workers === 1 ? ['open'] : []
  const bases = basesOf(signing === 'rsa' || signing === 'both')
  for (const server of mailServers) bases[`× ${server.name}`] = server.name
  bases['× plain'] = valijaName(settings.queues[0] ?? queue)
  return {
    name,
    guessS: 10 + 7 * phases.length,
    run: async (round) => {
      const run = await onStage(settings, (stage) => runValija(stage, variant, new Set(phases)))
      enterRun(round, name, run, bases)
    },
  }
}

function enterRun(round: Round, system: string, run: ValijaRun, bases: Record<string, string>): void {
  const plain = { '× plain': bases['× plain'] ?? '' }
  round.enter('whole', system, run.whole, bases)
  if (run.open) round.enter('open', system, run.open, plain)
  if (run.accept) round.enter('accept', system, run.accept, { '× bare Fastify': 'bare Fastify', ...plain })
  if (run.backlog) round.enter('backlog', system, run.backlog, bases)
}
