/**
 * The life of a recipient: the states, the transitions that exist, and a message's status as a fold over its recipients.
 *
 * Nothing outside this file compares states. The CHECK constraints of the tables `recipients` and `deliveries` list the same
 * words (`npm run check` compares them), and every UPDATE that changes a state names the states it may change from by
 * `statesBefore()`, so a late event can never overwrite an end.
 *
 *   scheduled ──► queued ──► (sending) ──► delivered
 *       │           ▲  │         ├───────► bounced
 *       │           │  │         ├───────► failed
 *       │        deferred ◄──────┘
 *       └─► cancelled, suppressed, failed
 *
 * `sending` is never stored: it is what a queued or deferred recipient is called while a worker holds its lease (see
 * `deliveryStates`), so that sending a mail costs one write less.
 */

/** A sentence for each state, shown in the documents. */
export const recipientStateMeanings = {
  scheduled: 'Waits for its send_at.',
  queued: 'Accepted, and due as soon as its turn comes.',
  sending: 'A worker holds it this moment.',
  deferred: 'Was tried and will be tried again.',
  delivered: 'The receiving server took responsibility for it (250 after DATA).',
  bounced: 'The receiving server refused it for good, at once or by a later bounce.',
  failed: 'Valija gave up: time over, no such domain, a rule of ours, or an internal fault.',
  cancelled: 'Stopped on request before it was sent.',
  suppressed: 'Not sent, because the address is on the suppression list.',
} as const

export type RecipientState = keyof typeof recipientStateMeanings
export const recipientStates = Object.keys(recipientStateMeanings) as readonly RecipientState[]

/** The states of a row of `deliveries`: what the queue knows of a recipient that is not at its end. */
export const deliveryStates = ['waiting', 'admitted', 'leased'] as const
export type DeliveryState = (typeof deliveryStates)[number]

/** What can happen to a recipient. */
export type RecipientEvent =
  | 'due'
  | 'deliver'
  | 'defer'
  | 'bounce'
  | 'fail'
  | 'cancel'
  | 'suppress'
  | 'reschedule'

const live = ['scheduled', 'queued', 'sending', 'deferred'] as const satisfies readonly RecipientState[]

/** What happened → the states in which it may happen, and the state after it. */
const transitions = {
  due: { from: ['scheduled'], to: 'queued' },
  deliver: { from: ['scheduled', 'queued', 'sending', 'deferred'], to: 'delivered' },
  defer: { from: ['scheduled', 'queued', 'sending', 'deferred'], to: 'deferred' },
  // A bounce mail can arrive after the receiving server took the mail: the only way out of `delivered`.
  bounce: { from: ['scheduled', 'queued', 'sending', 'deferred', 'delivered'], to: 'bounced' },
  fail: { from: ['scheduled', 'queued', 'sending', 'deferred'], to: 'failed' },
  cancel: { from: ['scheduled', 'queued', 'deferred'], to: 'cancelled' },
  suppress: { from: ['scheduled', 'queued', 'sending', 'deferred'], to: 'suppressed' },
  reschedule: { from: ['scheduled', 'queued', 'deferred'], to: 'scheduled' },
} as const satisfies Record<RecipientEvent, { from: readonly RecipientState[]; to: RecipientState }>

/** The state after `event`, or null if that event cannot happen in `state`. */
export function apply(state: RecipientState, event: RecipientEvent): RecipientState | null {
  const transition: { from: readonly RecipientState[]; to: RecipientState } = transitions[event]
  return transition.from.includes(state) ? transition.to : null
}

/** The states from which `event` may happen, for the WHERE of an UPDATE. */
export function statesBefore(event: RecipientEvent): readonly RecipientState[] {
  return transitions[event].from
}

/** The state that `event` leads to. */
export function stateAfter(event: RecipientEvent): RecipientState {
  return transitions[event].to
}

/** Whether nothing more is going to be tried for a recipient in this state. */
export function isEnd(state: RecipientState): boolean {
  return !(live as readonly RecipientState[]).includes(state)
}

/**
 * What a recipient is called while a worker holds its lease.
 *
 * @param isLeased whether a row of `deliveries` is leased and its lease has not run out
 */
export function shownState(stored: RecipientState, isLeased: boolean): RecipientState {
  return isLeased && !isEnd(stored) ? 'sending' : stored
}

export type MessageStatus = RecipientState | 'partially_delivered'
export const messageStatuses: readonly MessageStatus[] = [...recipientStates, 'partially_delivered']

const liveOrder: readonly RecipientState[] = ['sending', 'queued', 'deferred', 'scheduled']
const endOrder: readonly RecipientState[] = ['bounced', 'failed', 'suppressed', 'cancelled']

/**
 * A message's status: while any recipient is live, the first present of sending, queued, deferred, scheduled; all ended
 * alike: that word; otherwise partially_delivered if one was delivered, else the first present of bounced, failed,
 * suppressed, cancelled.
 *
 * @throws {RangeError} for no recipients: an accepted message has at least one
 */
export function messageStatus(states: readonly RecipientState[]): MessageStatus {
  const present = new Set(states)
  const first = states[0]
  if (first === undefined) throw new RangeError('a message has at least one recipient')
  const alive = liveOrder.find((state) => present.has(state))
  if (alive !== undefined) return alive
  if (present.size === 1) return first
  if (present.has('delivered')) return 'partially_delivered'
  return endOrder.find((state) => present.has(state)) ?? first
}
