/**
 * One program of ours as a supervisor runs it: whenever it ends it is started again, under a new name for its new life. How each life
 * ended goes into the ledger of faults.
 */
import { appendFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { monotonicMs } from '../bench/program.ts'
import { type Running, startApp } from '../tests/support/processes.ts'
import type { FaultEntry, Ledger } from './ledgers.ts'

export interface SupervisedOptions {
  command: 'api' | 'worker'
  slot: number
  /** The environment of one life. */
  environment: (life: string) => Record<string, string>
  /** After an end that nobody asked for, as supervisors do. */
  restartAfterMs: number
  faults: Ledger<FaultEntry>
  logFile: string
  /** Whether the end of a life that began then is no wonder, because what it needs to start was away. */
  mayFail: (begunMs: number) => boolean
  /** Whether the process with this id died at its crash point. */
  diedAtPoint: (pid: number) => boolean
  /** Told of an end that nobody asked for, and that is a wonder. */
  onWonder: (what: string) => void
}

const readyWithinMs = 120_000
const stopWithinMs = 90_000
const lookEveryMs = 20

interface Life {
  name: string
  begunMs: number
  running: Running
  hasEnded: boolean
  /** Set when it was killed from here. */
  killed: { atMs: number; downMs: number } | null
  /** Set when it was asked to end, to be started again. */
  isRestarted: boolean
  /** Resolves when it is up, and when it has ended. */
  decided: PromiseWithResolvers<void>
}

export class Supervised {
  readonly #options: SupervisedOptions
  #lives = 0
  #life: Life
  #isUp = false
  #isStopping = false
  readonly #ended: Promise<void>

  constructor(options: SupervisedOptions) {
    this.#options = options
    this.#life = this.#begin()
    this.#ended = this.#supervise()
  }

  get slot(): number {
    return this.#options.slot
  }

  /** Resolves when it is up. */
  async up(): Promise<void> {
    while (!this.#isUp && !this.#isStopping) {
      await this.#life.decided.promise
      await delay(lookEveryMs)
    }
  }

  /** SIGKILL; it is started again after `downMs`, and this resolves when it is up. Where a crash point was faster, the next life is killed. */
  async kill(downMs: number): Promise<void> {
    for (;;) {
      const victim = await this.#untilAlive()
      victim.killed ??= { atMs: monotonicMs(), downMs }
      await victim.running.kill()
      while (this.#life === victim && !this.#isStopping) await delay(lookEveryMs)
      if (this.#isStopping || !this.#options.diedAtPoint(victim.running.pid)) break
    }
    await this.up()
  }

  /** SIGTERM, as for a new version; it is started again, and this resolves when it is up. It has to drain and exit with 0. */
  async restart(): Promise<void> {
    await this.up()
    const old = this.#life
    old.isRestarted = true
    await old.running.stop(stopWithinMs)
    while (this.#life === old) await delay(lookEveryMs)
    await this.up()
  }

  /** SIGSTOP, and SIGCONT after `forMs`; resolves then, or when it was killed meanwhile. */
  async pause(forMs: number): Promise<void> {
    const { name, running } = await this.#untilAlive()
    const atMs = monotonicMs()
    running.pause()
    await Promise.race([delay(forMs), running.ended])
    running.resume()
    this.#tell({ kind: 'pause', life: name, atMs, detail: '' })
  }

  /** SIGTERM, for good. @returns what was wrong with its end; null: nothing */
  async stop(): Promise<string | null> {
    // One that has only begun to start has no way yet to end in peace.
    await Promise.race([this.up(), delay(readyWithinMs, null, { ref: false })])
    this.#isStopping = true
    const startedMs = monotonicMs()
    const { code, signal } = await this.#life.running.stop(stopWithinMs)
    await this.#ended
    // A point to die at may be on the way of the stop.
    const isPoint = signal === 'SIGKILL' && monotonicMs() - startedMs < stopWithinMs
    return code === 0 || isPoint ? null : `${this.#life.name} ended with ${code ?? signal}`
  }

  /** SIGKILL, for good. */
  async abandon(): Promise<null> {
    this.#isStopping = true
    await this.#life.running.kill()
    await this.#ended
    return null
  }

  /** Resolves with the present life, or the next one where that has ended already. */
  async #untilAlive(): Promise<Life> {
    while (this.#life.hasEnded && !this.#isStopping) await delay(lookEveryMs)
    return this.#life
  }

  #begin(): Life {
    this.#lives += 1
    const { command, slot, environment } = this.#options
    const name = `${command}-${slot}-${this.#lives}`
    const running = startApp(command, environment(name))
    return {
      name,
      begunMs: monotonicMs(),
      running,
      hasEnded: false,
      killed: null,
      isRestarted: false,
      decided: Promise.withResolvers(),
    }
  }

  async #supervise(): Promise<void> {
    let last: Ending | null = null
    /** An end lasts until the next life is up, or has ended as well. */
    const tellLast = () => {
      if (last) this.#tell(last)
      last = null
    }
    for (;;) {
      const ending = await this.#liveThrough(this.#life, tellLast)
      tellLast()
      if (ending === null) return
      // Between two lives, it has been told to stop.
      if (this.#isStopping) return
      last = ending
      this.#life = this.#begin()
    }
  }

  /** @returns how the life ended; null when that was asked for */
  async #liveThrough(life: Life, onUp: () => void): Promise<Ending | null> {
    const watching = life.running.line('valija ready', readyWithinMs).then(
      () => {
        this.#isUp = true
        onUp()
        life.decided.resolve()
      },
      () => undefined,
    )
    const { code, signal } = await life.running.ended
    life.hasEnded = true
    const endedMs = monotonicMs()
    await watching
    this.#isUp = false
    life.decided.resolve()
    const { logFile } = this.#options
    appendFileSync(logFile, life.running.lines.map((line) => `${life.name} ${line}\n`).join(''))
    if (this.#isStopping) return null
    const kind = this.#kindOfEnd(life, code, signal)
    const detail = kind === 'exit' ? this.#detailOfExit(life, code ?? signal) : ''
    await delay(life.killed?.downMs ?? this.#options.restartAfterMs)
    const atMs = (kind === 'kill' ? life.killed?.atMs : null) ?? endedMs
    return { kind, life: life.name, atMs, detail }
  }

  #kindOfEnd(
    { killed, isRestarted, running }: Life,
    code: number | null,
    signal: string | null,
  ): FaultEntry['kind'] {
    if (signal === 'SIGKILL' && this.#options.diedAtPoint(running.pid)) return 'point'
    if (killed) return 'kill'
    return isRestarted && code === 0 ? 'restart' : 'exit'
  }

  /** By itself, or by somebody who is not of this run: the kernel, for want of memory. */
  #detailOfExit({ name, begunMs, running }: Life, how: number | string | null): string {
    if (how !== 'SIGKILL' && this.#options.mayFail(begunMs)) return `code ${how}`
    this.#options.onWonder(`${name} ended by itself (${how}): ${running.lines.slice(-8).join(' | ')}`)
    return `code ${how}, unexpected`
  }

  #tell(ending: Ending): void {
    this.#options.faults.add({ ...ending, victim: this.#options.command, untilMs: monotonicMs() })
  }
}

type Ending = Pick<FaultEntry, 'kind' | 'life' | 'atMs' | 'detail'>
