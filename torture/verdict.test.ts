import { describe, expect, test } from 'vitest'
import type { ClientEntry, EventEntry, FaultEntry, MessageEntry, SinkEntry } from './ledgers.ts'
import { judge, type Ledgers, type Rule } from './verdict.ts'

const email = 'ok-1-0@a.torture.test'

const client: ClientEntry = {
  number: 2,
  key: 'k',
  atMs: 1_000,
  tookMs: 5,
  tries: 1,
  outcome: {
    kind: 'accepted',
    status: 202,
    id: 'msg_1',
    recipients: [{ id: 'rcp_1', email }],
    isReplay: false,
  },
}
const mail: SinkEntry = {
  atMs: 2_000,
  answeredMs: 2_001,
  answer: '250',
  site: 'a.torture.test',
  session: 1,
  ehlo: 'worker-0-1.torture.test',
  from: 'b@bounce.test',
  to: email,
  messageId: '<1@sender.torture.test>',
  number: 2,
  bytes: 10,
  sha256: 'aa',
}
const event = (seq: number, type: string): EventEntry => ({
  kind: 'event',
  id: `evt_${seq}`,
  type: `message.${type}`,
  messageId: 'msg_1',
  recipientId: 'rcp_1',
  isUncertain: false,
  seq,
  number: 2,
})
const message: MessageEntry = {
  kind: 'message',
  id: 'msg_1',
  number: 2,
  rfcMessageId: '<1@sender.torture.test>',
  recipients: [{ id: 'rcp_1', email, status: 'delivered', attempts: 1 }],
}
const good: Ledgers = {
  clients: [client],
  sink: [mail],
  webhooks: [{ atMs: 3_000, id: 'evt_2', type: 'message.delivered', recipientId: 'rcp_1', isSigned: true }],
  events: [event(1, 'accepted'), event(2, 'delivered')],
  messages: [message],
  faults: [],
  concurrency: 100,
}
const is = (status: string): MessageEntry => ({
  ...message,
  recipients: [{ id: 'rcp_1', email, status, attempts: 1 }],
})

test('ledgers that agree are green', () => {
  expect(judge(good)).toMatchObject({ findings: [], delivered: 1, lost: 0, accepted: { recipients: 1 } })
})

test.each<[string, Rule, Partial<Ledgers>]>([
  ['accepted, and not there', 'I1', { messages: [] }],
  ['accepted, and still waiting', 'I1', { messages: [is('deferred')] }],
  ['bounced although its receiver takes all', 'I1', { messages: [is('bounced')] }],
  ['delivered, and never came', 'I2', { sink: [] }],
  ['delivered, and the receiver never said 250', 'I2', { sink: [{ ...mail, answer: 'gone' }] }],
  ['came, and is failed', 'I3', { messages: [is('failed')] }],
  ['came twice for no reason', 'I4', { sink: [mail, { ...mail, atMs: 9_000, answeredMs: 9_001 }] }],
  ['came twice and differently', 'I5', { sink: [mail, { ...mail, sha256: 'bb' }] }],
  ['came under another Message-ID', 'I5', { sink: [{ ...mail, messageId: '<2@sender.torture.test>' }] }],
  ['came with the content of another', 'I5', { sink: [{ ...mail, number: 3 }] }],
  ['is shown with other bytes', 'I5', { messages: [{ ...message, sha256: 'bb' }] }],
  ['has no event of its end', 'I6', { events: [event(1, 'accepted')] }],
  ['has two ends', 'I6', { events: [...good.events, event(3, 'failed')] }],
  ['goes on after its end', 'I6', { events: [...good.events, event(3, 'deferred')] }],
  ['has a number twice', 'I6', { events: [...good.events, { ...event(2, 'deferred'), id: 'evt_3' }] }],
  ['nobody was told of its end', 'I6', { webhooks: [] }],
  ['an event came twice', 'events', { events: [...good.events, event(2, 'delivered')] }],
  ['its acceptance was skipped', 'events', { events: [event(2, 'delivered')] }],
  [
    'one key made two messages',
    'key',
    {
      events: [
        ...good.events,
        { ...event(1, 'accepted'), id: 'evt_9', messageId: 'msg_2', recipientId: 'rcp_2' },
      ],
    },
  ],
  [
    'an answer was 500',
    'answers',
    { clients: [client, { ...client, outcome: { kind: 'wrong', status: 500, body: '' } }] },
  ],
])('red: %s', (_, rule, broken) => {
  const { findings } = judge({ ...good, ...broken })
  expect(findings.map((finding) => finding.rule)).toContain(rule)
})

const twice = { sink: [mail, { ...mail, ehlo: 'worker-1-1.torture.test', atMs: 40_000, answeredMs: 40_001 }] }
const fault = (kind: FaultEntry['kind'], atMs: number, untilMs: number): FaultEntry => ({
  kind,
  victim: 'worker',
  life: 'worker-0-1',
  atMs,
  untilMs,
  detail: '',
})

test.each<[string, FaultEntry[], string]>([
  [
    'its worker was killed while PostgreSQL was away',
    [fault('kill', 20_000, 22_000), { ...fault('kill', 1_900, 19_000), victim: 'postgres', life: '' }],
    'killedWaiting',
  ],
  ['its worker was killed right after the dot', [fault('kill', 2_100, 4_000)], 'killed'],
  ['its worker died at a point right after the dot', [fault('point', 2_100, 4_000)], 'killed'],
  [
    'its worker was killed long after its result was on record',
    [fault('kill', 20_000, 22_000)],
    'unexplained',
  ],
  ['its worker was killed before it began', [fault('kill', -5_000, -1_000)], 'unexplained'],
  ['its worker was stopped after the dot', [fault('pause', 2_100, 38_000)], 'paused'],
  ['its worker was stopped for a moment', [fault('pause', 2_100, 4_000)], 'unexplained'],
  [
    'its worker was stopped before the dot and sent all the same',
    [fault('pause', -40_000, 1_900)],
    'unexplained',
  ],
  [
    'PostgreSQL was away for longer than the lease',
    [{ ...fault('kill', 2_100, 38_000), victim: 'postgres', life: '' }],
    'postgres',
  ],
])('a duplicate when %s', (_, faults, cause) => {
  expect(judge({ ...good, ...twice, faults }).duplicates).toMatchObject({ [cause]: 1 })
})

test('a kill may double as many mails as its worker has conversations, and no more', () => {
  const sink = ['ok-2-0@a.torture.test', 'ok-2-1@a.torture.test'].flatMap((to) => [
    { ...mail, to },
    { ...mail, to, ehlo: 'worker-1-1.torture.test', atMs: 40_000, answeredMs: 40_001 },
  ])
  const faults = [fault('kill', 2_100, 4_000)]
  expect(judge({ ...good, sink, faults, concurrency: 2 })).toMatchObject({ mostDuplicatesPerKill: 2 })
  const rulesOf = (concurrency: number) =>
    judge({ ...good, sink, faults, concurrency }).findings.map(({ rule }) => rule)
  expect(rulesOf(2)).not.toContain('kills')
  expect(rulesOf(1)).toContain('kills')
})

describe('the mail of a tenant that chose at_most_once', () => {
  const number = 1
  const failed: MessageEntry = { ...is('failed'), number, uncertain: { rcp_1: 1 } }
  const end: EventEntry = { ...event(2, 'failed'), number, isUncertain: true }
  const uncertain: Ledgers = {
    ...good,
    clients: [{ ...client, number }],
    sink: [{ ...mail, number }],
    webhooks: null,
    events: [{ ...event(1, 'accepted'), number }, end],
    messages: [failed],
    faults: [fault('kill', 2_100, 4_000)],
  }
  const rulesOf = (broken: Partial<Ledgers>) =>
    judge({ ...uncertain, ...broken }).findings.map(({ rule }) => rule)

  test('may end as failed when it may have arrived, and is not lost', () => {
    const { findings, lost, once } = judge(uncertain)
    expect(findings).toEqual([])
    expect(lost).toBe(0)
    expect(once).toEqual({ delivered: 0, uncertain: 1, uncertainCame: 1, doubled: 0 })
    expect(judge({ ...uncertain, sink: [] }).once).toMatchObject({ uncertain: 1, uncertainCame: 0 })
    expect(rulesOf({ sink: [] })).toEqual([])
  })

  test.each<[string, Rule, Partial<Ledgers>]>([
    ['came twice, even for a reason', 'I7', { sink: twice.sink.map((one) => ({ ...one, number })) }],
    ['failed although nothing broke', 'I7', { faults: [] }],
    ['failed although nothing broke, and never came', 'I7', { faults: [], sink: [] }],
    [
      'failed, and its event does not say why',
      'I7',
      { events: [uncertain.events[0]!, { ...end, isUncertain: false }] },
    ],
    ['failed, and no attempt may have arrived', 'I1', { messages: [{ ...failed, uncertain: {} }] }],
  ])('red: %s', (_, rule, broken) => {
    expect(rulesOf(broken)).toContain(rule)
  })

  test('another tenant’s mail may not end like that', () => {
    const number = 2
    expect(rulesOf({ messages: [{ ...failed, number }], sink: [mail] })).toContain('I1')
  })
})
