/** vitest's reporter of tests that were green at their second try only (vitest.config.ts says which get one): each with what was wrong. */
import type { Reporter, TestCase } from 'vitest/node'

export default class SecondTries implements Reporter {
  readonly #lines: string[] = []

  onTestCaseResult(test: TestCase): void {
    if (test.diagnostic()?.flaky !== true) return
    const why = test.result().errors?.[0]?.message ?? 'an unknown failure'
    this.#lines.push(
      `second try: ${test.module.relativeModuleId} > ${test.fullName}: ${why.replaceAll('\n', '\n  ')}\n`,
    )
  }

  onTestRunEnd(): void {
    for (const line of this.#lines.splice(0)) process.stdout.write(line)
  }
}
