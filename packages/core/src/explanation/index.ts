/**
 * Explains a recipient: where it stands, why, and what to do (GET /messages/:id/explain). Pure: from the facts that
 * packages/flows/src/explain-message.ts reads to sentences with the numbers in them.
 */
import { erasedDomain } from '../erasure.ts'
import { isEnd } from '../recipient-state.ts'
import type { Explanation } from './cause-kinds.ts'
import { explainEnd, explainErased } from './explain-end.ts'
import { explainWaiting } from './explain-waiting.ts'
import type { ExplanationFacts } from './facts.ts'

export * from './cause-kinds.ts'
export * from './facts.ts'

export function explainRecipient(facts: ExplanationFacts): Explanation {
  if (facts.recipient.domain === erasedDomain) return explainErased(facts)
  const explanation = isEnd(facts.recipient.status) ? explainEnd(facts) : explainWaiting(facts)
  return facts.recipient.isSimulated ? asPlayed(facts, explanation) : explanation
}

/** Whatever it seems to have met, the simulator plays it. */
function asPlayed({ recipient }: ExplanationFacts, { summary, because }: Explanation): Explanation {
  const detail = `${recipient.email} is played by the simulator: no mail leaves this machine, and none comes to an inbox.`
  return {
    summary: `${summary} The simulator plays it.`,
    // How a made-up reply was read teaches nobody anything.
    because: [{ kind: 'simulated', detail }, ...because.filter(({ kind }) => kind !== 'rule')],
    remedy: 'To send a real mail, leave sandbox out and use an address outside simulator.valija.test.',
  }
}
