/**
 * How many mails the receivers of a domain answer, by what this worker hears of them. What a domain may have in flight goes by it
 * (dispatch-deliveries.ts): a quarter of its stream's part is much for a receiver that answers nothing, and little for one that answers a thousand
 * mails a second, which would then wait for its mails and not they for it (859 mails a second for one domain, 1,169 without that bound).
 */
import type { InFlight } from '@valija/store'

export interface DomainPace {
  /** A receiver of the domain has taken a mail, or refused it for good. */
  note(domain: string): void
  /** Such answers in a second, by those of the last one or two. */
  perSecond(domain: string): number
}

const windowMs = 1_000

export function createDomainPace(): DomainPace {
  let answers = new Map<string, number>()
  let before = new Map<string, number>()
  let sinceMs = performance.now()

  const turn = () => {
    const elapsedMs = performance.now() - sinceMs
    if (elapsedMs < windowMs) return
    before = elapsedMs < 2 * windowMs ? answers : new Map()
    answers = new Map()
    sinceMs += elapsedMs
  }
  return {
    note: (domain) => {
      turn()
      answers.set(domain, (answers.get(domain) ?? 0) + 1)
    },
    perSecond: (domain) => {
      turn()
      return Math.max(answers.get(domain) ?? 0, before.get(domain) ?? 0)
    },
  }
}

/** What is answered in this time does not count against a domain's part, in milliseconds. */
const soonAnsweredMs = 500
/** Nor more than this of what is leased: so a domain never has more than three quarters of its stream's part, should it answer nothing any more. */
const mostSoonAnswered = 2 / 3

/**
 * What counts of the rows in flight against the parts of their domains. Streams that have mail for one domain share what its receivers are about
 * to answer.
 *
 * @param perSecond answers of all workers
 */
export function withoutSoonAnswered(
  underWay: readonly InFlight[],
  perSecond: (domain: string) => number,
): InFlight[] {
  return [...Map.groupBy(underWay, ({ domain }) => domain)].flatMap(([domain, entries]) => {
    const leased = entries.reduce((sum, entry) => sum + entry.leased, 0)
    const soon = (perSecond(domain) * soonAnsweredMs) / 1_000
    const part = Math.min(mostSoonAnswered, soon / Math.max(1, leased))
    return entries.map((entry) => ({ ...entry, leased: entry.leased - Math.floor(entry.leased * part) }))
  })
}
