/** How many sessions a site may have. */
import { expect, test } from 'vitest'
import { relayDestination } from './relay-destination.ts'
import { captureTarget } from './routes.ts'
import { look } from './site-progress.ts'
import { createFixedShaper } from './site-shaper.ts'
import { areShort, createSite, hasRoomFor, type SiteState } from './site-state.ts'

const shaper = createFixedShaper({ connections: 20, mailsPerConnection: 1_000 })

function siteWith({ lanes, answered }: { lanes: number; answered: number }): SiteState<string> {
  const target = captureTarget({ host: '127.0.0.1', port: 25 }, 'us.example')
  const destination = relayDestination(target, 'capture', 'default')
  const scope = { scope: destination.scope, sites: new Set<SiteState<string>>(), closing: 0 }
  const site = createSite(destination, scope)
  site.line.push({ job: 'a mail', turn: { tenantId: 'one', weight: 1, stream: 'bulk' }, sinceMs: 0 })
  for (let nth = 0; nth < lanes; nth += 1) site.lanes.add({} as never)
  site.answered = answered
  return site
}

test('as many as it has answered mails, and five before; one where sockets are short', () => {
  const mayOpen = (lanes: number, answered: number, areShort: boolean) =>
    hasRoomFor(siteWith({ lanes, answered }), shaper, areShort)
  expect([mayOpen(4, 0, false), mayOpen(5, 0, false), mayOpen(5, 1, false)]).toEqual([true, false, true])
  expect([mayOpen(0, 0, true), mayOpen(1, 0, true), mayOpen(1, 1, true)]).toEqual([true, false, true])
})

test('one that has stopped to answer gets no more, however many it had answered', () => {
  const site = siteWith({ lanes: 5, answered: 1_000 })
  expect(hasRoomFor(site, shaper, true)).toBe(true)
  for (let looks = 0; looks < 4; looks += 1) look(site.progress, true)
  expect([hasRoomFor(site, shaper, true), hasRoomFor(site, shaper, false)]).toEqual([false, false])
})

test('sockets are short once an eighth of them work, and five', () => {
  expect([areShort(4, 4), areShort(4, 16), areShort(5, 16)]).toEqual([false, false, true])
  expect([areShort(12, 100), areShort(13, 100)]).toEqual([false, true])
})
