import { describe, expect, test } from 'vitest'
import { noHosts } from './domain-hosts.ts'
import type { DomainRecord } from './domain-records.ts'
import { noteLeftOut, summarizeDomain } from './domain-summary.ts'

const record = (purpose: DomainRecord['purpose'], status: DomainRecord['status']): DomainRecord => ({
  ...{
    purpose,
    status,
    type: 'TXT',
    name: `${purpose}._domainkey.acme.test`,
    host: '',
    value: '',
    found: [],
  },
  ...{ priority: null, required: true, fault: null, fix: '', checked_at: null, resolver: null },
  state: purpose === 'dkim' ? 'active' : null,
})
const domain = (more: Partial<Parameters<typeof summarizeDomain>[0]>) => ({
  ...{ id: 'dom_1', name: 'acme.test', status: 'verified' as const, vouched: false, dkim: false },
  ...{ dkim_algorithms: [], return_path_host: 'bounce.acme.test', verified_at: null, failing_since: null },
  ...{ sending_stops_at: null, records: [], created_at: '' },
  ...more,
})

describe('a domain in one sentence', () => {
  const all = [record('ownership', 'ok'), record('dkim', 'ok')]
  test.each([
    [
      {
        status: 'pending' as const,
        records: [record('ownership', 'unchecked'), record('dkim', 'unchecked')],
      },
      'It is not verified yet; its records have not been looked for yet: publish them, then POST /domains/dom_1/verify.',
    ],
    [{ records: all }, 'It is verified, and its mail is signed; all its records are right.'],
    [
      { records: [record('ownership', 'ok'), record('dkim', 'wrong'), record('dmarc', 'unchecked')] },
      'It is verified, but its mail is not signed; still to be published or mended: dkim dkim; not seen yet: dmarc.',
    ],
    [
      {
        records: [record('ownership', 'missing'), record('dkim', 'ok')],
        sending_stops_at: '2026-11-29T00:00:00.000Z',
      },
      'It is verified until 2026-11-29T00:00:00.000Z only, unless its ownership record comes back; still to be published or mended: ownership.',
    ],
    [
      { status: 'failed' as const, records: [record('ownership', 'missing'), record('dkim', 'ok')] },
      'It is no longer verified, because its ownership record is gone; still to be published or mended: ownership.',
    ],
    [{ vouched: true, records: all }, 'The operator vouches for it, unsigned; all its records are right.'],
  ])('%#', (more, sentence) => {
    expect(summarizeDomain(domain(more))).toBe(sentence)
  })
})

test('records that are left out for want of VALIJA_BOUNCE_DOMAIN are told', () => {
  expect(noteLeftOut({ ...noHosts, bounceDomain: 'bounces.test' })).toEqual([])
  expect(noteLeftOut(noHosts)[0]).toContain('no return_path and no spf record')
  expect(noteLeftOut({ ...noHosts, relayHost: 'relay.test' })[0]).toContain(
    'no return_path record to publish',
  )
})
