/** A run as steps: each says what it took and how long the rest will take; one that fails costs its own figures, and no others. */

export interface Step {
  /** The same in every round: what it took before is what it will take. */
  key: string
  name: string
  /** What it took where this was written, in seconds: for an estimate before it ran. */
  guessS: number
  run(): Promise<void>
}

export interface Failure {
  name: string
  reason: string
}

export interface Watcher {
  say(text: string): void
  /** True: the run is to end after this step. */
  isStopped(): boolean
  /** After each step, failed or not. */
  after?(step: Step, failures: Failure[]): Promise<void>
}

/** @returns what failed, in order */
export async function runSteps(steps: readonly Step[], watcher: Watcher): Promise<Failure[]> {
  const estimate = createEstimate(steps)
  const failures: Failure[] = []
  for (const [index, step] of steps.entries()) {
    watcher.say(
      `${step.name} (${index + 1} of ${steps.length}, about ${duration(estimate.leftS(index))} left)`,
    )
    const beganAt = performance.now()
    try {
      await step.run()
      estimate.took(step, (performance.now() - beganAt) / 1000)
    } catch (error) {
      if (watcher.isStopped()) break
      const reason = error instanceof Error ? error.message : String(error)
      watcher.say(`void: ${step.name}: ${reason}`)
      failures.push({ name: step.name, reason })
    }
    await watcher.after?.(step, failures)
    if (watcher.isStopped()) break
  }
  return failures
}

/** What is left: as long as the same took the last time, else as guessed, on a machine that is as fast as it was so far. */
export function createEstimate(steps: readonly Pick<Step, 'key' | 'guessS'>[]) {
  const last = new Map<string, number>()
  let [tookS, guessedS] = [0, 0]
  return {
    took: ({ key, guessS }: Pick<Step, 'key' | 'guessS'>, seconds: number) => {
      last.set(key, seconds)
      tookS += seconds
      guessedS += guessS
    },
    /** Of the steps from number `index` on, in seconds. */
    leftS: (index: number): number => {
      const pace = guessedS > 0 ? tookS / guessedS : 1
      return steps.slice(index).reduce((sum, { key, guessS }) => sum + (last.get(key) ?? guessS * pace), 0)
    },
  }
}

function duration(seconds: number): string {
  return seconds < 90 ? `${Math.round(seconds)} s` : `${Math.round(seconds / 60)} min`
}
