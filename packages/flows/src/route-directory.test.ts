/** Which list a mail goes by, and what a name means to whom. */
import type { PlannedList, PlannedRoute, RoutePlan } from '@valija/store'
import { describe, expect, test } from 'vitest'
import { indexRoutes } from './route-directory.ts'

const list = (
  name: string,
  tenantId: string | null,
  domain: string | null = null,
  stream: PlannedList['stream'] = null,
): PlannedList => ({ tenantId, domain, stream, routes: [{ route: name, weight: 1, isBackup: false }] })

const route = (name: string, tenantId: string | null): PlannedRoute => ({
  id: `${tenantId} ${name}`,
  tenantId,
  name,
  kind: 'smarthost',
  host: 'relay.test',
  port: 25,
  tls: 'off',
  username: null,
  password: null,
  returnPath: 'verp',
  returnPathAddress: null,
  rewritesIds: false,
  pool: null,
  isGuarded: true,
  state: 'enabled',
  pausedReason: null,
  pausedReply: null,
  pausedUntil: null,
})

const plan = (more: Partial<RoutePlan>) =>
  indexRoutes({ routes: [], lists: [], sources: [], health: [], ...more })

describe('the list of a mail', () => {
  const index = plan({
    lists: [
      list('all', null),
      list('all-bulk', null, null, 'bulk'),
      list('domain-bulk', 'acme', 'acme.test', 'bulk'),
      list('domain', 'acme', 'acme.test'),
      list('bulk', 'acme', null, 'bulk'),
      list('other-domain', 'other', 'other.test'),
    ],
  })
  const nameOf = (...of: Parameters<typeof index.listFor>) => index.listFor(...of)?.[0]?.route

  test.each([
    ['the stream of its domain', 'acme.test', 'bulk', 'domain-bulk'],
    ['its domain', 'acme.test', 'transactional', 'domain'],
    ['the domain above its own', 'mail.acme.test', 'transactional', 'domain'],
    ['its stream', 'else.test', 'bulk', 'bulk'],
    ['the operator, where the tenant has none', 'else.test', 'transactional', 'all'],
  ] as const)('is that of %s', (_, domain, stream, name) => {
    expect(nameOf('acme', domain, stream)).toBe(name)
  })

  test('is never another tenant’s', () => {
    expect(nameOf('stranger', 'acme.test', 'transactional')).toBe('all')
    expect(nameOf('stranger', 'acme.test', 'bulk')).toBe('all-bulk')
    expect(nameOf('other', 'notother.test', 'transactional')).toBe('all')
  })

  test('is none where nobody made one', () => {
    expect(plan({}).listFor('acme', 'acme.test', 'bulk')).toBeNull()
  })

  test('tells whose mail may take a route', () => {
    expect([index.mayTake('acme', 'domain'), index.mayTake('other', 'domain')]).toEqual([true, false])
    expect([index.mayTake('acme', 'all'), index.mayTake('stranger', 'all')]).toEqual([true, true])
    const whole = plan({ lists: [list('all', null), list('own', 'acme')] })
    expect([whole.mayTake('acme', 'all'), whole.mayTake('stranger', 'all')]).toEqual([false, true])
    expect([whole.hasWholeList('acme'), plan({}).hasWholeList('acme')]).toEqual([true, false])
  })
})

test('a name means the tenant’s own route before the operator’s, and never another tenant’s', () => {
  const index = plan({ routes: [route('r', null), route('r', 'acme'), route('s', 'other')] })
  expect(index.find('acme', 'r')?.tenantId).toBe('acme')
  expect(index.find('other', 'r')?.tenantId).toBeNull()
  expect(index.find('acme', 's')).toBeNull()
  expect(index.namesFor('acme')).toEqual(['r'])
})
