/**
 * The address that a mail leaves from: of the pool that its route or its stream has, one that this machine can bind, by weight and
 * always the same for a recipient; where addresses warm up, one that may still send to the provider in this hour.
 */
import { type Disposition, rankByWeight, type Stream, steadyNowMs, warmUpOutcome } from '@valija/core'
import {
  type Database,
  noteBlockedSource,
  noteBoundSources,
  otherProvider,
  type PlannedSource,
} from '@valija/store'
import {
  type ChoosableDelivery,
  type ChosenRoute,
  type ChosenSource,
  routeHold,
  type TakenWay,
} from './route-choice.ts'
import type { RouteIndex } from './route-directory.ts'
import { createWarmUpBudget, type WarmUpBudget } from './warm-up-budget.ts'

export interface SourceChooser {
  /** @param providerOf asked only where a warm-up's caps need it */
  choose(
    index: RouteIndex,
    delivery: ChoosableDelivery,
    route: Pick<ChosenRoute, 'way'> & { pool: string | null },
    providerOf: () => Promise<string | null>,
  ): Promise<SourceChoice> | SourceChoice
  observe(
    delivery: ChoosableDelivery,
    taken: TakenWay,
    outcome: { disposition: Disposition; reply: string | null },
  ): void
  /** Says which of the sources this worker can bind. */
  announce(index: RouteIndex): Promise<void>
  close(): Promise<void>
}

export type SourceChoice =
  | { kind: 'source'; source: ChosenSource; isAvoided: boolean }
  | { kind: 'wait'; untilMs: number; hold: string }

export interface SourceChooserParts {
  database: Database
  /** Addresses of the configuration, at least one: what there is without /source-ips. */
  configured: readonly ChosenSource[]
  /** Addresses that this machine has now. */
  localAddresses: () => readonly string[]
  onError: (error: Error) => void
}

/** A mail that no source of this machine can take looks again after this; another worker may have it sooner. */
const noSourceMs = 30_000
/** A refusal by reputation is written down this often for a source. */
const blockNoteMs = 60_000

export function createSourceChooser(parts: SourceChooserParts): SourceChooser {
  const { database, configured, onError } = parts
  const budget = createWarmUpBudget(database, onError)
  const notedAtMs = new Map<string, number>()
  const writes = new Set<Promise<void>>()
  const write = (work: Promise<unknown>) => {
    const tracked: Promise<void> = work.then(() => undefined, onError).finally(() => writes.delete(tracked))
    writes.add(tracked)
  }

  const local = createLocalAddresses(parts.localAddresses)
  return {
    choose: (index, delivery, route, providerOf) => {
      const pool = poolOf(index, route, delivery.stream)
      if (pool === null) return chooseConfigured(configured, delivery, route)
      const usable = index.sources.filter((source) => {
        return source.pool === pool && source.state === 'enabled' && canBind(local(), source.bind)
      })
      const ranked = rank(usable, ({ address, weight }) => ({ key: address, weight }), delivery)
      const [first] = ranked
      if (first === undefined) {
        return { kind: 'wait', untilMs: steadyNowMs() + noSourceMs, hold: routeHold('no_source', pool) }
      }
      if (first.warmUp === null) return take(first, local(), delivery)
      return chooseWarm({ budget, local }, ranked, delivery, providerOf)
    },
    observe: ({ recipientId }, { source: { id } }, { disposition, reply }) => {
      if (id === null) return
      budget.count(recipientId, warmUpOutcome(disposition))
      if (disposition.reason !== 'reputation') return
      const nowMs = performance.now()
      if (nowMs - (notedAtMs.get(id) ?? -blockNoteMs) < blockNoteMs) return
      notedAtMs.set(id, nowMs)
      write(noteBlockedSource(database.engine, id, reply))
    },
    announce: (index) => {
      const bound = index.sources.filter((source) => canBind(local(), source.bind))
      return noteBoundSources(
        database.engine,
        bound.map((source) => source.id),
      )
    },
    close: async () => {
      await budget.close()
      await Promise.all(writes)
    },
  }
}

/** The first of these that may send one more mail to the recipient's provider in this hour. */
async function chooseWarm(
  { budget, local }: { budget: WarmUpBudget; local: () => ReadonlySet<string> },
  ranked: readonly PlannedSource[],
  delivery: ChoosableDelivery,
  providerOf: () => Promise<string | null>,
): Promise<SourceChoice> {
  const provider = (await providerOf()) ?? otherProvider
  let soonest = { waitMs: Infinity, address: '' }
  for (const source of ranked) {
    const key = { sourceId: source.id, provider }
    const waitMs = source.warmUp === null ? 0 : await budget.take(key, source.warmUp, delivery.recipientId)
    if (waitMs === 0) return take(source, local(), delivery)
    if (waitMs < soonest.waitMs) soonest = { waitMs, address: source.address }
  }
  return {
    kind: 'wait',
    untilMs: steadyNowMs() + soonest.waitMs,
    hold: routeHold('warm_up', soonest.address),
  }
}

function take(source: PlannedSource, local: ReadonlySet<string>, delivery: ChoosableDelivery): SourceChoice {
  return {
    kind: 'source',
    source: toChosen(source, local),
    isAvoided: isAvoided(delivery, source.address),
  }
}

/**
 * The pool that a mail's source is of; null: the configured addresses. A relay sees no pool unless its route names one: it may be
 * on a network that the public addresses do not reach.
 */
function poolOf(
  { sources }: RouteIndex,
  { way, pool }: Pick<ChosenRoute, 'way'> & { pool: string | null },
  stream: Stream,
): string | null {
  if (way.kind === 'capture') return null
  if (pool !== null) return pool
  if (way.kind !== 'mx' || sources.length === 0) return null
  return sources.some((source) => source.pool === stream) ? stream : defaultPool
}

const defaultPool = 'default'

function chooseConfigured(
  configured: readonly ChosenSource[],
  delivery: ChoosableDelivery,
  { way }: Pick<ChosenRoute, 'way'>,
): SourceChoice {
  // Relays know us by one address; exchangers may see all.
  const usable = way.kind === 'mx' ? configured : configured.slice(0, 1)
  const [source] = rank(usable, ({ name }) => ({ key: name, weight: 1 }), delivery)
  if (source === undefined) throw new RangeError('there is no source at all')
  return { kind: 'source', source, isAvoided: isAvoided(delivery, source.name) }
}

/** By weight, those that were refused for this recipient behind all others. */
function rank<T extends { name: string } | { address: string }>(
  sources: readonly T[],
  read: (source: T) => { key: string; weight: number },
  delivery: ChoosableDelivery,
): T[] {
  const ranked = rankByWeight(sources, read, delivery.email)
  if (delivery.avoid === null) return ranked
  return ranked.sort(
    (a, b) => Number(isAvoided(delivery, read(a).key)) - Number(isAvoided(delivery, read(b).key)),
  )
}

export function avoidedSource(name: string): string {
  return `source:${name}`
}

function isAvoided({ avoid }: ChoosableDelivery, name: string): boolean {
  return avoid?.includes(avoidedSource(name)) ?? false
}

function toChosen(source: PlannedSource, local: ReadonlySet<string>): ChosenSource {
  const address6 = source.ipv6 !== null && local.has(source.ipv6) ? source.ipv6 : null
  return {
    id: source.id,
    name: source.address,
    address: source.bind,
    address6,
    ehloName: source.ehloName,
    hasIpv6: address6 !== null,
  }
}

/** Looked up again after this: an address that comes or goes is rare. */
const localForMs = 5_000

function createLocalAddresses(read: () => readonly string[]): () => ReadonlySet<string> {
  let known: { addresses: ReadonlySet<string>; untilMs: number } | null = null
  return () => {
    const nowMs = performance.now()
    if (known === null || known.untilMs < nowMs) {
      known = { addresses: new Set(read()), untilMs: nowMs + localForMs }
    }
    return known.addresses
  }
}

/** All of 127/8 is this machine, whatever the interface lists. */
function canBind(local: ReadonlySet<string>, address: string): boolean {
  return local.has(address) || (address.startsWith('127.') && local.has('127.0.0.1'))
}
