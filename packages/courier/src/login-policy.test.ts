import type { TlsFacts } from '@valija/core'
import { expect, test } from 'vitest'
import { findLoginObstacle } from './login-policy.ts'

const verified: TlsFacts = {
  version: 'TLSv1.3',
  cipher: 'x',
  verified: true,
  policy: 'required',
  detail: null,
}
const unverified: TlsFacts = {
  ...verified,
  verified: false,
  policy: 'opportunistic',
  detail: 'self-signed certificate',
}
const publicPeer = { isOffered: true, isPrivatePeer: false, isTlsOff: false, tls: null }

test('a public peer gets a login over verified TLS only', () => {
  expect(findLoginObstacle({ ...publicPeer, tls: verified })).toBeNull()
  expect(findLoginObstacle(publicPeer)).toMatchObject({ phase: 'auth', failure: 'tls' })
  expect(findLoginObstacle({ ...publicPeer, tls: unverified })?.detail).toContain('self-signed certificate')
})

test('a private peer, and one for which TLS was switched off, gets it as it is', () => {
  expect(findLoginObstacle({ ...publicPeer, isPrivatePeer: true })).toBeNull()
  expect(findLoginObstacle({ ...publicPeer, isTlsOff: true })).toBeNull()
})

test('a peer without AUTH gets none', () => {
  const obstacle = findLoginObstacle({ ...publicPeer, tls: verified, isOffered: false })
  expect(obstacle).toMatchObject({ phase: 'auth', failure: 'login_refused' })
})
