import type { ClaimedWebhook } from '@valija/store'
import { describe, expect, test } from 'vitest'
import { createPlaces, type Places } from './webhook-places.ts'

const limits = { places: 10, troubledPlaces: 2, triesPerEndpoint: 4, slowMs: 1_000 }

const claimed = (
  webhookId: string,
  count: number,
  troubles: Partial<ClaimedWebhook> = {},
): ClaimedWebhook[] =>
  Array.from({ length: count }, (_, index) => ({
    webhookId,
    tenantId: 'tenant',
    batchId: null,
    lease: '',
    isFailing: false,
    isTroubled: false,
    url: 'http://a.test/',
    sealedSecret: Buffer.alloc(0),
    signingSecrets: 1,
    events: [
      {
        id: `${webhookId}-${index}`,
        tries: 0,
        scheduledTries: 0,
        type: 'message.accepted',
        createdAt: new Date(0),
        data: {},
      },
    ],
    ...troubles,
  }))

function take(places: Places, ...rows: ClaimedWebhook[][]): void {
  places.take(places.demand(), rows.flat())
}

describe('places', () => {
  test('a claim is offered what is free, by endpoint and in all', () => {
    const places = createPlaces(limits)
    take(places, claimed('a', 3), claimed('b', 1, { isFailing: true, isTroubled: true }))
    expect(places.demand()).toMatchObject({
      busy: new Map([
        ['a', 3],
        ['b', 1],
      ]),
      room: 7,
      troubledRoom: 1,
    })
  })

  test('an endpoint that took less than it was offered has no more', () => {
    const places = createPlaces(limits)
    const [row] = claimed('a', 1)
    take(places, [row!])
    expect(places.leaveEndpoint(row!, true, 5)).toBe(false)
    expect(places.leave(row!)).toBe(false)
    expect(places.demand()).toMatchObject({ busy: new Map(), room: 10 })
  })

  test('one that took all may have more, until its last try has ended', () => {
    const places = createPlaces(limits)
    const rows = claimed('a', 4)
    take(places, rows)
    expect(rows.map((row) => places.leaveEndpoint(row, true, 5))).toEqual([true, true, true, true])
    const [again] = claimed('a', 1)
    take(places, [again!])
    expect(places.leaveEndpoint(again!, true, 5)).toBe(false)
  })

  test('what was offered counts, also when tries ended while the claim was under way', () => {
    const places = createPlaces(limits)
    const first = claimed('a', 2)
    take(places, first)
    const demand = places.demand()
    for (const row of first) places.leaveEndpoint(row, true, 5)
    // It was offered two places and took both, although four are free by now.
    const second = claimed('a', 2)
    places.take(demand, second)
    expect(places.leaveEndpoint(second[0]!, true, 5)).toBe(true)
  })

  test('after a failure the endpoint is looked at again', () => {
    const places = createPlaces(limits)
    const rows = claimed('a', 2)
    take(places, rows)
    expect(places.leaveEndpoint(rows[0]!, false, 5)).toBe(true)
  })

  test('when all places were taken any that comes free is worth a claim, for its kind of endpoint', () => {
    const places = createPlaces(limits)
    const well = claimed('a', 1)
    const troubled = [
      claimed('b', 1, { isFailing: true, isTroubled: true }),
      claimed('c', 1, { isFailing: true, isTroubled: true }),
    ].flat()
    take(places, well, troubled)
    expect(places.leave(well[0]!)).toBe(false)
    expect(places.leave(troubled[0]!)).toBe(true)
  })

  test('an endpoint is slow from a slow answer to the next quick one', () => {
    const places = createPlaces(limits)
    const rows = claimed('a', 2)
    take(places, rows)
    places.leaveEndpoint(rows[0]!, true, 1_001)
    expect(places.demand().slow).toEqual(['a'])
    places.leaveEndpoint(rows[1]!, true, 999)
    expect(places.demand().slow).toEqual([])
  })
})
