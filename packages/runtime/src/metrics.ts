/**
 * Prometheus metrics: a registry of its own for each process (never prom-client's global one, which would make
 * two instances in one process count together), and three small shapes that flows and couriers are handed.
 *
 * No metric carries a tenant: their number has no bound, and each would be a time series. Who wants a tenant's
 * numbers asks `/stats`.
 */
import type { Counter as Counted } from 'prom-client'

/** A number that only grows. */
export type Count<L extends string = never> = { add: (labels: Record<L, string>, by?: number) => void }
/** A distribution of values, such as durations in seconds. */
export type Distribution<L extends string = never> = {
  observe: (labels: Record<L, string>, value: number) => void
}
/** A number that goes up and down. */
export type Level<L extends string = never> = { set: (labels: Record<L, string>, value: number) => void }

type Definition<L extends string> = {
  /** With its unit last, as Prometheus wants it: `valija_accept_seconds`, `valija_messages_accepted_total`. */
  name: `valija_${string}`
  help: string
  labels?: readonly L[]
}

export type Metrics = {
  /** The same definition (the object itself) gives the same number: parts of a process that count one thing share it. */
  count: <L extends string = never>(definition: Definition<L>) => Count<L>
  /** `buckets`: upper bounds in the metric's unit. */
  distribution: <L extends string = never>(
    definition: Definition<L> & { buckets?: number[] },
  ) => Distribution<L>
  level: <L extends string = never>(definition: Definition<L>) => Level<L>
  /** A level that is looked up whenever somebody reads the metrics; null leaves the last value. */
  observedLevel: (definition: Definition<never>, look: () => number | null | Promise<number | null>) => void
  /** The same for a level with labels: what is not named any more is gone. */
  observedLevels: <L extends string>(
    definition: Definition<L>,
    look: () => Promise<readonly { labels: Record<L, string>; value: number }[]>,
  ) => void
  /** The body of `/metrics`. */
  exposition: () => Promise<string>
  contentType: string
}

/** Durations from a millisecond to two minutes, in seconds: an accept at one end, a slow MX at the other. */
const SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120]

const UNBOUNDED = /tenant|message|recipient|address|email/

function checkedLabels<L extends string>({ name, labels = [] }: Definition<L>): L[] {
  const bad = labels.find((label) => UNBOUNDED.test(label))
  if (bad !== undefined) throw new RangeError(`${name}: the values of the label "${bad}" have no bound`)
  return [...labels]
}

/**
 * Metrics for one process, with memory, CPU, event loop and garbage collection under `process` (the label of all).
 *
 * prom-client is loaded here: workers and commands, whose metrics nobody reads, start in 0.04 s less without it.
 */
export async function createMetrics(process: string): Promise<Metrics> {
  const { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } = await import('prom-client')
  const registry = new Registry()
  registry.setDefaultLabels({ process })
  collectDefaultMetrics({ register: registry })
  const shared = <L extends string>(definition: Definition<L>) => ({
    name: definition.name,
    help: definition.help,
    labelNames: checkedLabels(definition),
    registers: [registry],
  })
  const counts = new Map<object, Counted>()
  return {
    count: (definition) => {
      const counter = counts.get(definition) ?? new Counter<string>(shared(definition))
      counts.set(definition, counter)
      return { add: (labels, by = 1) => counter.inc(labels, by) }
    },
    distribution: (definition) => {
      const histogram = new Histogram({ ...shared(definition), buckets: definition.buckets ?? SECONDS })
      return { observe: (labels, value) => histogram.observe(labels, value) }
    },
    level: (definition) => {
      const gauge = new Gauge(shared(definition))
      return { set: (labels, value) => gauge.set(labels, value) }
    },
    observedLevel: (definition, look) => {
      new Gauge({
        ...shared(definition),
        async collect() {
          const value = await look()
          if (value !== null) this.set(value)
        },
      })
    },
    observedLevels: (definition, look) => {
      new Gauge({
        ...shared(definition),
        async collect() {
          const found = await look()
          this.reset()
          for (const { labels, value } of found) this.set(labels, value)
        },
      })
    },
    exposition: () => registry.metrics(),
    contentType: registry.contentType,
  }
}
