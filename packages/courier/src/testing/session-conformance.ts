/**
 * What every implementation of `Session` must do, as one suite: `describeSession(name, createOpenSession)`.
 *
 * Each case says what the peer does; checked are the report, and what the peer saw.
 */
import { afterEach, describe } from 'vitest'
import type { NetworkGuard } from '../network-guard.ts'
import type { OpenSession } from '../session.ts'
import { describeBreaks, describeDeadlines, describeNonsense } from './conformance-faults.ts'
import {
  describeBody,
  describeLease,
  describeParameters,
  describeRefusals,
  describeSuccess,
} from './conformance-mail.ts'
import { describeLogin, describeTls } from './conformance-tls.ts'
import { SessionBench } from './session-bench.ts'

export function describeSession(name: string, createOpen: (guard: NetworkGuard) => OpenSession): void {
  describe(name, () => {
    const bench = new SessionBench(createOpen)
    afterEach(() => bench.end())
    describeSuccess(bench)
    describeRefusals(bench)
    describeParameters(bench)
    describeLease(bench)
    describeBody(bench)
    describeBreaks(bench)
    describeDeadlines(bench)
    describeNonsense(bench)
    describeTls(bench)
    describeLogin(bench)
  })
}
