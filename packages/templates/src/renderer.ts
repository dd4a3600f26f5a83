/**
 * Renders templates of tenants in threads that can be ended, so that one tenant's template harms nobody else:
 *
 *   - a tenant has one thread less than there are; those whose templates had to be ended share one for a minute
 *   - tenants take turns, and many renders are done in slices, so that nobody waits for another's thousand
 *   - a thread that is ended takes nothing with it but what it was rendering: all else waits here
 *   - whose thread ran out of memory is tried once more in a thread of its own: others may have filled the first one
 */
import { ProductError, type Uuid } from '@valija/core'
import type {
  RenderOutcome,
  TemplateBundle,
  TemplateFault,
  TemplateInspection,
  TemplateSource,
  TemplateVariables,
  ThreadAnswer,
  ThreadRequest,
} from './render-job.ts'
import { type RenderThread, startThread, type ThreadEnd } from './thread.ts'

export interface TemplateRenderer {
  /**
   * Renders one template for each of the variables, in order.
   *
   * @throws {ProductError} rate_limited, overloaded; message_too_large for all together
   */
  render(
    tenantId: Uuid,
    bundle: TemplateBundle,
    items: readonly TemplateVariables[],
  ): Promise<RenderOutcome[]>
  /** What is wrong with a template and all that it uses, whatever it is given. @throws {ProductError} the same */
  check(tenantId: Uuid, bundle: TemplateBundle): Promise<TemplateFault[]>
  /** What a source says of itself. @throws {ProductError} the same */
  inspect(tenantId: Uuid, source: TemplateSource): Promise<TemplateInspection>
  /** Ends the threads; what waits is refused. */
  close(): Promise<void>
}

export interface RendererOptions {
  /** At least two: one tenant's template must not hold up the others. */
  threads?: number
  /** Told of threads that had to be ended, and why. */
  onKill?: (tenantId: Uuid, why: ThreadEnd) => void
  /** Instead of `startThread`, for tests in which threads end. */
  start?: typeof startThread
}

/** As many renders as one request to a thread does: some tens of milliseconds. */
const sliceItems = 50
/** Of all renders of one call together: it is held in memory until it is stored. */
const maxOutputCharacters = 64_000_000
/** Requests that wait: of a tenant, and of all. */
const maxWaiting = { perTenant: 100, total: 2_000 }
/** What waits longer is refused: beyond 9 s its client is answered without it (apps/api/src/answer-in-time.ts). */
const maxWaitMs = 5_000
/** For so long a tenant whose template was ended shares a thread with others like it. */
const suspectMs = 60_000

interface Job {
  tenantId: Uuid
  request: ThreadRequest
  sinceMs: number
  /** Its thread's memory was full once, perhaps of what others had left there. */
  isRetried: boolean
  resolve(answer: ThreadAnswer): void
  /** The thread was ended. */
  endBy(why: ThreadEnd): void
  reject(error: Error): void
}

interface Place {
  thread: RenderThread
  /** Null: idle. `starting`: it has not said yet that it is there. */
  job: Job | 'starting' | null
  /** What it is started for. */
  first: Job | null
}

export function createRenderer({
  threads = 2,
  onKill,
  start = startThread,
}: RendererOptions = {}): TemplateRenderer {
  const lines = createLines()
  const pool = createPool({ threads, lines, start, ...(onKill && { onKill }) })

  const ask = (tenantId: Uuid, request: ThreadRequest): Promise<ThreadAnswer | ThreadEnd> =>
    new Promise((resolve, reject) => {
      const sinceMs = performance.now()
      const refusal = pool.isClosed
        ? tooMuch()
        : lines.add({ tenantId, request, sinceMs, isRetried: false, resolve, endBy: resolve, reject })
      if (refusal) reject(refusal)
      else pool.dispatch()
    })

  return {
    render: async (tenantId, bundle, items) => {
      const outcomes: RenderOutcome[] = []
      let characters = 0
      for (const slice of sliced(items)) {
        const answer = await ask(tenantId, { kind: 'render', tenantId, bundle, items: slice })
        const isAnswered = typeof answer !== 'string' && answer.kind === 'rendered'
        const rendered = isAnswered ? answer.outcomes : slice.map(() => faulty(messageOf(answer)))
        characters += rendered.reduce((sum, outcome) => sum + lengthOf(outcome), 0)
        if (characters > maxOutputCharacters) throw outputTooLong()
        outcomes.push(...rendered)
      }
      return outcomes
    },
    check: async (tenantId, bundle) => {
      const answer = await ask(tenantId, { kind: 'render', tenantId, bundle, items: [] })
      if (typeof answer !== 'string' && answer.kind === 'rendered') return answer.faults
      return faulty(messageOf(answer)).faults
    },
    inspect: async (tenantId, source) => {
      const answer = await ask(tenantId, { kind: 'inspect', source })
      if (typeof answer !== 'string' && answer.kind === 'inspected') return answer.inspection
      return { faults: faulty(messageOf(answer)).faults, references: [], variables: [] }
    },
    close: () => pool.close(),
  }
}

interface PoolParts {
  threads: number
  lines: Lines
  start: typeof startThread
  onKill?: (tenantId: Uuid, why: ThreadEnd) => void
}

/** The threads, and what each of them does. */
function createPool({ threads, lines, start, onKill }: PoolParts) {
  const places = new Set<Place>()
  let isClosed = false

  const isFree = ({ tenantId }: Job, suspects: ReadonlyMap<Uuid, number>) => {
    const running = [...places].flatMap(({ job, first }) => {
      const present = job === 'starting' ? first : job
      return present === null ? [] : [present.tenantId]
    })
    const own = running.filter((other) => other === tenantId).length
    if (own >= Math.max(1, threads - 1)) return false
    return !suspects.has(tenantId) || !running.some((other) => suspects.has(other))
  }
  const dispatch = () => {
    for (const place of places) {
      if (place.job !== null) continue
      const job = lines.take(isFree)
      if (job === null) break
      place.job = job
      place.thread.ask(job.request)
    }
    if (lines.waiting > 0 && places.size < threads && !isClosed) open()
  }
  const open = (first: Job | null = null) => {
    const onAnswer = (answer: ThreadAnswer) => {
      const { job } = place
      place.job = job === 'starting' ? first : null
      if (job !== 'starting') job?.resolve(answer)
      else if (first) place.thread.ask(first.request)
      dispatch()
    }
    const onEnd = (why: ThreadEnd, error = new Error('a rendering thread ended')) => {
      places.delete(place)
      const { job } = place
      // One that does not start would not the next time either: nobody waits for ever.
      if (job === 'starting') {
        first?.reject(error)
        lines.refuse(error)
      } else if (job !== null && why === 'memory' && !job.isRetried && !isClosed) {
        open({ ...job, isRetried: true })
      } else if (job !== null && (why === 'slow' || why === 'memory')) {
        lines.suspect(job.tenantId)
        onKill?.(job.tenantId, why)
        job.endBy(why)
      } else job?.reject(error)
      if (!isClosed) dispatch()
    }
    const place: Place = { job: 'starting', first, thread: start({ onAnswer, onEnd }) }
    places.add(place)
  }
  return {
    get isClosed() {
      return isClosed
    },
    dispatch,
    close: async () => {
      isClosed = true
      lines.refuse(tooMuch())
      await Promise.all([...places].map(({ thread }) => thread.end()))
    },
  }
}

function lengthOf(outcome: RenderOutcome): number {
  if (outcome.kind === 'faulty') return 0
  const { text, html } = outcome.rendering
  return (text?.length ?? 0) + (html?.length ?? 0)
}

function outputTooLong(): ProductError {
  return new ProductError('message_too_large', {
    detail: `The messages render to more than ${maxOutputCharacters.toLocaleString('en')} characters in all. Send several batches.`,
  })
}

function sliced(items: readonly TemplateVariables[]): TemplateVariables[][] {
  const count = Math.ceil(items.length / sliceItems)
  return Array.from({ length: count }, (_, i) => items.slice(i * sliceItems, (i + 1) * sliceItems))
}

function messageOf(answer: ThreadAnswer | ThreadEnd): string {
  if (answer === 'memory') return 'It needs too much memory to render. Make it simpler.'
  if (answer === 'slow') return 'It takes too long to render. Make it simpler.'
  throw new Error('a rendering thread answered something else')
}

function faulty(message: string) {
  const fault: TemplateFault = { slug: null, part: null, line: null, variable: null, message }
  return { kind: 'faulty' as const, faults: [fault] }
}

type Lines = ReturnType<typeof createLines>

/** What waits, in a line for each tenant; the tenants take turns. */
function createLines() {
  const lines = new Map<Uuid, Job[]>()
  const suspects = new Map<Uuid, number>()
  let waiting = 0

  const shift = (tenantId: Uuid, line: Job[]): Job => {
    const job = line.shift()!
    waiting -= 1
    // Behind the others.
    lines.delete(tenantId)
    if (line.length > 0) lines.set(tenantId, line)
    return job
  }
  const dropLate = (now: number) => {
    for (const [tenantId, line] of lines) {
      while (line[0] !== undefined && now - line[0].sinceMs > maxWaitMs)
        shift(tenantId, line).reject(tooMuch())
    }
    for (const [tenantId, sinceMs] of suspects) if (now - sinceMs > suspectMs) suspects.delete(tenantId)
  }
  return {
    get waiting() {
      return waiting
    },
    /** @returns why it may not wait */
    add: (job: Job): ProductError | null => {
      const line = lines.get(job.tenantId) ?? []
      if (waiting >= maxWaiting.total) return tooMuch()
      if (line.length >= maxWaiting.perTenant) {
        const detail = `More than ${maxWaiting.perTenant} requests of this tenant wait for their templates to be rendered.`
        return new ProductError('rate_limited', { detail, retryAfterS: 1 })
      }
      line.push(job)
      lines.set(job.tenantId, line)
      waiting += 1
      return null
    },
    /** The next one that may run now; null: none. */
    take: (isFree: (job: Job, suspects: ReadonlyMap<Uuid, number>) => boolean): Job | null => {
      dropLate(performance.now())
      for (const [tenantId, line] of lines) if (isFree(line[0]!, suspects)) return shift(tenantId, line)
      return null
    },
    suspect: (tenantId: Uuid) => suspects.set(tenantId, performance.now()),
    refuse: (error: Error) => {
      for (const line of lines.values()) for (const job of line) job.reject(error)
      lines.clear()
      waiting = 0
    },
  }
}

function tooMuch(): ProductError {
  return new ProductError('overloaded', { detail: 'Too many templates wait to be rendered.', retryAfterS: 1 })
}
