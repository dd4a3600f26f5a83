/** Rounds with other mails and other receivers than the 10 KB for one smarthost, each on a stage of its own. */
import { startExchangers } from './exchangers.ts'
import type { MailKind, MailShape } from './mails.ts'
import { say } from './options.ts'
import { runNodemailerPool } from './others.ts'
import type { Section } from './phase.ts'
import type { Round } from './rounds.ts'
import { runValija } from './run-valija.ts'
import type { SinkOptions } from './sink.ts'
import { openStage, type Stage, type StageOptions } from './stage.ts'
import type { QueueBackend, Signing } from './valija.ts'

/** What a kind is called, and what part of the mails is enough: large ones take longer. */
const kinds: { kind: MailKind; name: string; share: number }[] = [
  { kind: 'code', name: 'code of 1 KB', share: 1 },
  { kind: 'large', name: 'page of 100 KB', share: 1 / 5 },
  { kind: 'pdf', name: '200 KB of PDF', share: 1 / 10 },
]

export async function measureMails(base: StageOptions, round: Round, queue: QueueBackend): Promise<void> {
  for (const { kind, name, share } of kinds) {
    say(`${round.name}: ${name}`)
    const shape: MailShape = { kind, domains: 1, tenants: 1 }
    await onStage({ ...scaled(base, share), shape }, async (stage) => {
      const rival = `nodemailer pool, ${name}`
      const bases = { '× nodemailer': rival }
      const script = await runNodemailerPool(stage, { isSigned: false, processes: 1 })
      round.enter('mails', rival, script, bases)
      const variant = { queue, signing: 'unsigned', workers: 1 } as const
      const { whole } = await runValija(stage, variant, new Set())
      round.enter('mails', `Valija, ${name}`, whole, bases)
    })
  }
}

export const exchangerCounts = [1, 10, 1_000]

export async function measureExchangers(
  base: StageOptions,
  round: Round,
  queue: QueueBackend,
): Promise<void> {
  const nameOf = (count: number) => `Valija, ${count} ${count === 1 ? 'exchanger' : 'exchangers'}`
  for (const domains of exchangerCounts) {
    say(`${round.name}: ${domains} exchangers`)
    await measureSites({
      base,
      round,
      section: 'exchangers',
      system: nameOf(domains),
      bases: { '× one exchanger': nameOf(1) },
      shape: { kind: 'receipt', domains, tenants: 1 },
      queue,
      signing: 'unsigned',
    })
  }
}

export async function measureRealistic(base: StageOptions, round: Round, queue: QueueBackend): Promise<void> {
  say(`${round.name}: a realistic run`)
  await measureSites({
    base: scaled(base, 1 / 5),
    round,
    section: 'realistic',
    system: `Valija, queue in ${queue}`,
    bases: {},
    shape: { kind: 'large', domains: 1_000, tenants: 1 },
    queue,
    signing: 'rsa',
    sink: { roundTripMs: 40, tls: true },
  })
}

interface Sites {
  base: StageOptions
  round: Round
  section: Section
  system: string
  bases: Record<string, string>
  shape: MailShape
  queue: QueueBackend
  signing: Signing
  sink?: Partial<SinkOptions>
}

async function measureSites(sites: Sites): Promise<void> {
  const { base, round, section, system, bases, shape, queue, signing, sink } = sites
  const { hosts, dnsServer, stop } = await startExchangers(shape.domains)
  try {
    await onStage({ ...base, shape, sink: { ...base.sink, ...sink, hosts } }, async (stage) => {
      const { whole } = await runValija(stage, { queue, signing, workers: 1, dnsServer }, new Set())
      round.enter(section, system, whole, bases)
    })
  } finally {
    await stop()
  }
}

function scaled(base: StageOptions, share: number): StageOptions {
  return { ...base, mails: Math.ceil(base.mails * share), warmUp: Math.ceil(base.warmUp * share) }
}

async function onStage(options: StageOptions, run: (stage: Stage) => Promise<void>): Promise<void> {
  const stage = await openStage(options)
  try {
    await run(stage)
  } finally {
    await stage.close()
  }
}
