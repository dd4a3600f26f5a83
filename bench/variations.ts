/** Turns with other mails and other receivers than the 10 KB for one smarthost, each on a stage of its own. */
import { startExchangers } from './exchangers.ts'
import type { MailKind, MailShape } from './mails.ts'
import { runNodemailerPool } from './others.ts'
import type { Section } from './phase.ts'
import type { Turn } from './rounds.ts'
import { runValija } from './run-valija.ts'
import type { SinkOptions } from './sink.ts'
import { onStage, type StageOptions } from './stage.ts'
import type { QueueBackend, Signing } from './valija.ts'

/** What a kind is called, and what part of the mails is enough: large ones take longer. */
const kinds: { kind: MailKind; name: string; share: number }[] = [
  { kind: 'code', name: 'code of 1 KB', share: 1 },
  { kind: 'large', name: 'page of 100 KB', share: 1 / 4 },
  { kind: 'pdf', name: '200 KB of PDF', share: 1 / 8 },
]

export function mailTurns(base: StageOptions, queue: QueueBackend): Turn[] {
  return kinds.map(({ kind, name, share }) => {
    const options = { ...scaled(base, share), shape: { kind, domains: 1, tenants: 1 } }
    const rival = `nodemailer pool, ${name}`
    const run: Turn['run'] = (round) =>
      onStage(options, async (stage) => {
        round.enter('mails', rival, await runNodemailerPool(stage, { isSigned: false, processes: 1 }))
        const variant = { queue, signing: 'unsigned', workers: 1 } as const
        const { whole } = await runValija(stage, variant, new Set())
        round.enter('mails', `Valija, ${name}`, whole, { '× nodemailer': rival })
      })
    return { name, guessS: 18, run }
  })
}

export const exchangerCounts = [1, 10, 1_000]

export function exchangerTurns(base: StageOptions, queue: QueueBackend): Turn[] {
  const nameOf = (count: number) => `Valija, ${count} ${count === 1 ? 'exchanger' : 'exchangers'}`
  return exchangerCounts.map((domains) =>
    sitesTurn({
      base,
      section: 'exchangers',
      system: nameOf(domains),
      bases: { '× one exchanger': nameOf(1) },
      shape: { kind: 'receipt', domains, tenants: 1 },
      queue,
      signing: 'unsigned',
      guessS: 12,
    }),
  )
}

/** How many exchangers a realistic run has, and mails for each of them before it is measured: their sessions are open then. */
const realistic = { exchangers: 1_000, warmUpEach: 2, mailsEach: 3 }

/**
 * With as many conversations as a worker has by itself sessions must give way to those of other exchangers, so it is cold: nearly
 * every mail opens one. With one for each exchanger it is warm.
 */
export function realisticTurns(base: StageOptions, queue: QueueBackend): Turn[] {
  const { exchangers, warmUpEach, mailsEach } = realistic
  const counts = { warmUp: warmUpEach * exchangers, mails: mailsEach * exchangers }
  return [exchangers, undefined].map((conversations) =>
    sitesTurn({
      base: { ...base, ...counts },
      section: 'realistic',
      system: realisticName(queue, conversations !== undefined),
      bases: {},
      shape: { kind: 'large', domains: exchangers, tenants: 1 },
      queue,
      signing: 'rsa',
      sink: { roundTripMs: 40, tls: true },
      ...(conversations !== undefined && { conversations }),
      guessS: 38,
    }),
  )
}

export const realisticName = (queue: QueueBackend, isWarm: boolean): string =>
  `Valija, queue in ${queue}, ${isWarm ? `warm: ${realistic.exchangers} conversations` : 'cold: 100 conversations, as delivered'}`

interface Sites {
  base: StageOptions
  section: Section
  system: string
  bases: Record<string, string>
  shape: MailShape
  queue: QueueBackend
  signing: Signing
  sink?: Partial<SinkOptions>
  conversations?: number
  guessS: number
}

function sitesTurn(sites: Sites): Turn {
  const { base, section, system, bases, shape, queue, signing, sink, conversations, guessS } = sites
  return {
    name: `${section}: ${system}`,
    guessS,
    run: async (round) => {
      const { hosts, dnsServer, stop } = await startExchangers(shape.domains)
      const limit = conversations === undefined ? {} : { conversations }
      try {
        await onStage({ ...base, shape, sink: { ...base.sink, ...sink, hosts } }, async (stage) => {
          const variant = { queue, signing, workers: 1, dnsServer, ...limit }
          const { whole } = await runValija(stage, variant, new Set())
          round.enter(section, system, whole, bases)
        })
      } finally {
        await stop()
      }
    },
  }
}

function scaled(base: StageOptions, share: number): StageOptions {
  return { ...base, mails: Math.ceil(base.mails * share), warmUp: Math.ceil(base.warmUp * share) }
}
