/**
 * How many mails the receivers of a domain answer, by what this worker hears of them. What a domain may have in flight goes by it
 * (dispatch-deliveries.ts): a quarter of its stream's part is much for a receiver that answers nothing, and little for one that answers a thousand
 * mails a second, which would then wait for its mails and not they for it (859 mails a second for one domain, 1,169 without that bound).
 */

export interface DomainPace {
  /** A receiver of the domain has answered a mail, whatever it said. */
  note(domain: string): void
  /** Answers in a second, as of the last two. */
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
