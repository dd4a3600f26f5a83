/** DANE by a real validating resolver: what Unbound vouches for is kept, what it does not is no promise, and what it finds forged is no answer. */
import { createHash } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startWorld, type World } from './support/hostile-world.ts'
import { type Issued, issueServer } from './support/issue-certificate.ts'
import type { SmtpPeer } from './support/smtp-peer.ts'
import { startUnbound, type Unbound } from './support/unbound.ts'
import { needsProgram } from './support/until.ts'

const isAbsent = ['unbound', 'ldns-signzone'].map(needsProgram).includes(true)

describe.skipIf(isAbsent)('a resolver that validates', () => {
  let world: World
  let unbound: Unbound
  const peers = new Map<string, SmtpPeer>()

  beforeAll(async () => {
    world = await startWorld()
    const { internet } = world
    const shown = new Map<string, Issued>()
    for (const name of ['right', 'wrong', 'bare', 'plain', 'forged']) {
      const certificate = await issueServer(['somebody.test'])
      shown.set(name, certificate)
      const script = { tls: { key: certificate.key, cert: certificate.cert } }
      peers.set(name, await internet.exchanger(`mx.${name}.test`, { starttls: true, script }))
    }
    const keyOf = (name: string) =>
      createHash('sha256')
        .update(shown.get(name)!.certificate.publicKey.export({ type: 'spki', format: 'der' }))
        .digest('hex')
    const tlsa = (name: string, key: string) => `_${internet.port}._tcp.mx.${name}.test. IN TLSA 3 1 1 ${key}`
    const site = (name: string) => [
      `${name}.test. IN MX 10 mx.${name}.test.`,
      `mx.${name}.test. IN A ${peers.get(name)!.host}`,
    ]
    const another = 'a'.repeat(64)
    unbound = await startUnbound({
      signed: [
        ...['right', 'wrong', 'bare'].flatMap(site),
        tlsa('right', keyOf('right')),
        tlsa('wrong', another),
      ],
      unsigned: { plain: [...site('plain'), tlsa('plain', another)] },
      bogus: { forged: site('forged') },
    })
    // The worker of before asks the other server: this one alone is to deliver.
    await world.valija.workers[0]!.stop()
    await world.valija.addWorker({ VALIJA_DNS_SERVERS: unbound.address })
  })
  afterAll(async () => {
    await world?.stop()
    await unbound?.stop()
  })

  test('a signed record that is right: delivered to the key that it names', async () => {
    const { recipient, attempts } = await world.send('ann@right.test')
    expect(recipient.status).toBe('delivered')
    expect(attempts[0]?.tls).toMatchObject({ verified: true, policy: 'dane', detail: null })
  })

  test('a signed record of another key: the mail waits', async () => {
    const [attempt] = await world.tried(await world.post('ann@wrong.test'))
    expect(attempt).toMatchObject({ outcome: 'deferred', reason: 'tls' })
    expect(peers.get('wrong')!.transcript.filter((line) => line.includes('MAIL'))).toEqual([])
  })

  test('a signed absence of records, and an unsigned record: delivered as to anybody', async () => {
    for (const name of ['bare', 'plain']) {
      const { recipient, attempts } = await world.send(`ann@${name}.test`)
      expect(recipient.status).toBe('delivered')
      expect(attempts[0]?.tls).toMatchObject({ verified: false, policy: 'opportunistic' })
    }
  })

  test('records that do not stand up to validation: the mail waits, and nobody is called', async () => {
    const [attempt] = await world.tried(await world.post('ann@forged.test'))
    expect(attempt).toMatchObject({ outcome: 'deferred', phase: 'dns', reason: 'network' })
    expect(peers.get('forged')!.sessions()).toBe(0)
  })

  test('a name that is proved not to exist fails after a second look', async () => {
    const { recipient } = await world.send('ann@nobody.test')
    expect([recipient.status, recipient.reason]).toEqual(['failed', 'domain_unknown'])
  })
})
