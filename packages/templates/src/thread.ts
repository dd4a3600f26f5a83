/**
 * One thread that renders, seen from outside: one request at a time, and its end when it takes too long. Its own limits
 * (render-limits.ts) stop nearly everything; what does not heed them, such as a regular expression or a full heap, is ended from here.
 */
import { Worker } from 'node:worker_threads'
import type { ThreadAnswer, ThreadRequest } from './render-job.ts'
import { renderLimits } from './render-limits.ts'

/** `slow` and `memory`: by what it was rendering. `broken`: by a fault of ours. */
export type ThreadEnd = 'slow' | 'memory' | 'broken' | 'closed'

export interface RenderThread {
  /** Only while it is idle. */
  ask(request: ThreadRequest): void
  end(): Promise<unknown>
}

export interface ThreadEvents {
  onAnswer(answer: ThreadAnswer): void
  /** Nothing is heard of it any more. */
  onEnd(why: ThreadEnd, error?: Error): void
}

/** It shares the process's memory, so its heap is small: an email is, too. */
const resourceLimits = { maxOldGenerationSizeMb: 128, maxYoungGenerationSizeMb: 16, stackSizeMb: 4 }
const lookEveryMs = 100
/** A thread that nothing interrupts does not tell how much it used. */
const tellWithinMs = 200
/** Twice what the thread allows itself, for what it does besides rendering. */
const cpuFactor = 2
/** By the wall: a machine may be so busy that a thread gets a tenth of a processor. */
const wallMs = 5_000

export function startThread({ onAnswer, onEnd }: ThreadEvents): RenderThread {
  const worker = new Worker(new URL('./render-thread.ts', import.meta.url), {
    // Nothing of the process is to be seen: its environment holds secrets.
    ...{ env: {}, execArgv: [], resourceLimits, name: 'templates' },
  })
  worker.unref()
  let usedMs = 0
  let timer: NodeJS.Timeout | undefined
  let isOver = false
  const finish = (why: ThreadEnd, error?: Error) => {
    if (isOver) return
    isOver = true
    clearTimeout(timer)
    onEnd(why, error)
  }
  const kill = (why: ThreadEnd) => {
    finish(why)
    return worker.terminate()
  }
  /** Looks again and again until the answer is there. */
  const watch = (untilCpuMs: number, untilMs: number) => {
    timer = setTimeout(async () => {
      const current = timer
      const cpuMs = await cpuOf(worker)
      if (isOver || timer !== current) return
      if ((cpuMs !== null && cpuMs > untilCpuMs) || performance.now() > untilMs) void kill('slow')
      else watch(untilCpuMs, untilMs)
    }, lookEveryMs)
  }
  worker.on('message', (answer: ThreadAnswer) => {
    if (isOver) return
    clearTimeout(timer)
    timer = undefined
    usedMs = answer.cpuMs
    onAnswer(answer)
  })
  worker.on('error', (error: NodeJS.ErrnoException) =>
    finish(error.code === 'ERR_WORKER_OUT_OF_MEMORY' ? 'memory' : 'broken', error),
  )
  worker.on('exit', () => finish('broken', new Error('a rendering thread ended by itself')))
  return {
    ask: (request) => {
      const cpuMs = cpuFactor * (renderLimits.cpuMs + renderLimits.cpuMsEach * itemsOf(request))
      watch(usedMs + cpuMs, performance.now() + wallMs + cpuMs)
      worker.postMessage(request)
    },
    end: () => kill('closed'),
  }
}

function itemsOf(request: ThreadRequest): number {
  return request.kind === 'render' ? request.items.length : 1
}

/** @returns null when it does not say */
async function cpuOf(worker: Worker): Promise<number | null> {
  let timer: NodeJS.Timeout | undefined
  const silence = new Promise<null>((resolve) => {
    timer = setTimeout(resolve, tellWithinMs, null)
  })
  const told = worker.cpuUsage().then(
    ({ user, system }) => (user + system) / 1000,
    () => null,
  )
  try {
    return await Promise.race([told, silence])
  } finally {
    clearTimeout(timer)
  }
}
