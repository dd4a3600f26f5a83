/**
 * What the links in bulk mails do (RFC 8058): the token is checked before anything else is done, and tells whose mail it was in.
 *
 * Anybody on the internet can ask, so PostgreSQL is asked for few of them at a time, the others wait for a moment, and one link
 * asks so often and no oftener; what is not a token of ours costs a signature.
 */
import {
  createUnsubscribeTokens,
  formatId,
  type IdSource,
  ProductError,
  type Sealer,
  type Stream,
  type UnsubscribeClaim,
  type UnsubscribeTokens,
  unsubscribePurpose,
} from '@valija/core'
import { parseAddress } from '@valija/mail'
import {
  type Database,
  type DatabaseClock,
  type LinkState,
  readLinkState,
  recordUnsubscribe,
  type TellUnsubscribed,
  takeBackUnsubscribe,
  type Unsubscriber,
  type Wake,
} from '@valija/store'
import { createBudgets } from './budgets.ts'
import { eventData } from './event-data.ts'
import { createRoom } from './room.ts'

/** What the page of a link shows. */
export interface LinkView extends LinkState {
  email: string
  stream: Stream
}

export interface UnsubscribeDesk {
  /**
   * What a link is about; nothing is changed.
   *
   * @returns null for what is no link of ours, or leads nowhere any more
   * @throws {ProductError} rate_limited, overloaded
   */
  look(token: string): Promise<LinkView | null>
  /** Takes the reader off the list of the mail's stream; done twice, it has been done once. The same answers and errors. */
  unsubscribe(token: string): Promise<LinkView | null>
  /** Takes it back, when this link did it a short while ago. What is so then. The same answers and errors. */
  takeBack(token: string): Promise<LinkView | null>
}

export interface UnsubscribeParts {
  database: Database
  clock: Pick<DatabaseClock, 'nowMs'>
  nextId: IdSource
  wake: Pick<Wake, 'send'>
  unsubscribeTokens: UnsubscribeTokens
  /** For a graph: forgers are seen in it. */
  count?: (outcome: LinkOutcome) => void
}

export type LinkOutcome = 'unsubscribed' | 'taken_back' | 'refused'

/** Both parts of what the API needs for links in mails: to make them, and to follow them. */
export function openUnsubscribing({
  sealer,
  ...parts
}: Omit<UnsubscribeParts, 'unsubscribeTokens'> & { sealer: Sealer }) {
  const unsubscribeTokens = createUnsubscribeTokens(sealer.signingKeys(unsubscribePurpose))
  return { unsubscribeTokens, unsubscribeDesk: createUnsubscribeDesk({ ...parts, unsubscribeTokens }) }
}

/** Half of the engine's connections at most, for a while, and one tenant's links half of that; a mailbox provider repeats what is answered 503. */
const askLimits = { total: 2, perOwner: 1, patienceMs: 5_000 }
/** A person who clicks like mad, and a provider that repeats itself. */
const perLink = { count: 30, perMs: 60_000, remembered: 10_000 }

function createUnsubscribeDesk(parts: UnsubscribeParts): UnsubscribeDesk {
  const room = createRoom(askLimits)
  const budgets = createBudgets(perLink)

  const ask = async <T extends LinkState>(
    token: string,
    question: (who: Unsubscriber, claim: UnsubscribeClaim) => Promise<T | null>,
  ): Promise<(T & LinkView) | null> => {
    const claim = parts.unsubscribeTokens.read(token)
    if (claim === null) {
      parts.count?.('refused')
      return null
    }
    const address = parseAddress(claim.email)
    if (!address.ok) return null
    const waitMs = budgets.take(claim.recipientId)
    if (waitMs > 0) {
      const detail = `This link was followed ${perLink.count} times within ${perLink.perMs / 1_000} s.`
      throw new ProductError('rate_limited', { detail, retryAfterS: Math.ceil(waitMs / 1_000) })
    }
    if (!(await room.enter(claim.tenantId, 1))) throw new ProductError('overloaded', { retryAfterS: 5 })
    try {
      const { key, domain } = address.value
      const answer = await question({ ...claim, emailKey: `${key}@${domain}` }, claim)
      return answer && { ...answer, email: claim.email, stream: claim.stream }
    } finally {
      room.leave(claim.tenantId, 1)
    }
  }
  return {
    look: (token) => ask(token, (who) => readLinkState(parts.database, who)),
    unsubscribe: async (token) => {
      const done = await ask(token, (who, claim) =>
        recordUnsubscribe(parts.database, who, teller(parts, claim)),
      )
      if (done) parts.count?.('unsubscribed')
      if (done?.hasWebhooks) parts.wake.send('webhooks')
      return done
    },
    takeBack: (token) =>
      ask(token, async (who) => {
        const { isTakenBack, hasWebhooks } = await takeBackUnsubscribe(parts.database, who)
        if (isTakenBack) parts.count?.('taken_back')
        if (hasWebhooks) parts.wake.send('webhooks')
        return readLinkState(parts.database, who)
      }),
  }
}

function teller({ clock, nextId }: UnsubscribeParts, claim: UnsubscribeClaim): TellUnsubscribed {
  const { tenantId, messageId, recipientId, stream, email } = claim
  return (mail, seq, suppressionId) => ({
    id: nextId(),
    tenantId,
    type: 'message.unsubscribed',
    messageId,
    createdAtMs: clock.nowMs(),
    data: {
      ...eventData({ id: messageId, stream, ...mail }, { id: recipientId, email }, null, seq),
      suppression_id: formatId('suppression', suppressionId),
    },
  })
}
