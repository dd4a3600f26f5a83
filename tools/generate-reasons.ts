/**
 * Writes docs/reasons.md from the reasons and retry schedules of @valija/core; with `--check` it fails when the page is stale.
 */
import type { Reason, ReasonMeaning, SuppressionRule } from '@valija/core'
import { settleGenerated } from './step.ts'

const introduction = `# Reasons

<!-- Generated from packages/core/src/reasons.ts and retry-policy.ts by tools/generate-reasons.ts. Do not edit. -->

Why a recipient waits or has failed: \`reason\` of a recipient, an attempt and an event. A name never changes; new ones may come. The server's
own words stand beside it as \`reply\`, unchanged. *Tried again* counts from the failure, ±10 %; the last wait repeats until the mail's time is
over (\`VALIJA_MESSAGE_TTL\`, \`ttl_seconds\`), and what the server refused for good (5xx) is not tried again, but for reputation. Who goes to the
*suppression list* by it: see [the last column](#who-is-suppressed).
`

const suppressed: Readonly<Record<SuppressionRule, string>> = {
  at_once: 'at once',
  third_in_14_days: 'third time in 14 days',
  never: 'no',
}

const actors: Readonly<Record<ReasonMeaning['actor'], string>> = {
  sender: 'the sender',
  recipient: 'the recipient',
  receiver: 'the receiving domain’s postmaster',
  operator: 'the operator of Valija',
  nobody: 'nobody',
}

const closing = `## Who is suppressed

Only a server that said for good (5xx, at RCPT or behind it) that the mailbox is unknown, disabled or full puts an address on the list, and only
where it said so in words or by a status that means nothing else: a bare 550 does not. Spam, policy, reputation, content and rate never do.
`

/** @param schedules waits in milliseconds; null where the reason is always final */
export function reasonsPage(
  meanings: Readonly<Record<string, ReasonMeaning>>,
  schedules: Readonly<Record<string, readonly number[] | null>>,
): string {
  const rows = Object.entries(meanings).map(
    ([reason, { actor, suppression }]) =>
      `| [\`${reason}\`](#${reason}) | ${scheduleText(schedules[reason] ?? null)} | ${actors[actor]} | ${suppressed[suppression]} |`,
  )
  const table = ['| Reason | Tried again | Who has to act | Suppressed |', '|---|---|---|---|', ...rows]
  const sections = Object.entries(meanings).map(
    ([reason, { meaning, remedy, bounceType }]) =>
      `## ${reason}\n\n${meaning}\n\n${remedy}\n\n\`bounce_type\` of a bounce: \`${bounceType}\`.\n`,
  )
  return [introduction, `${table.join('\n')}\n`, ...sections, closing].join('\n')
}

function scheduleText(waitsMs: readonly number[] | null): string {
  if (waitsMs === null) return 'no'
  const waits = waitsMs.map((ms) => (ms % 3_600_000 === 0 ? `${ms / 3_600_000} h` : `${ms / 60_000} min`))
  return waits.length === 1 ? `every ${waits[0]}` : waits.join(', ')
}

if (import.meta.main) {
  const core = await import('@valija/core')
  const policy = { networkScheduleMs: core.defaultNetworkScheduleMs }
  const isAlwaysFinal = (reason: Reason) => reason === 'expired'
  const schedules = Object.fromEntries(
    core.reasons.map((reason) => [
      reason,
      isAlwaysFinal(reason) ? null : core.retryScheduleMs(policy, { reason, action: 'retry' }),
    ]),
  )
  settleGenerated(
    'docs/reasons.md',
    reasonsPage(core.reasonMeanings, schedules),
    'node tools/generate-reasons.ts',
  )
}
