/**
 * Receivers whose TLS is broken, old, missing or tampered with (faults W13 to W16). Where nothing promised TLS, the mail goes as well
 * encrypted as can be, and the attempt says how; where the message, the domain's MTA-STS policy or its TLSA records promise it,
 * the mail waits and no word of it is said in plaintext.
 */
import { createHash } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import type { TlsOptions } from 'node:tls'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startWorld, type World } from './support/hostile-world.ts'
import { type Issued, issueAuthority, issueServer } from './support/issue-certificate.ts'
import { policyText } from './support/policy-host.ts'
import { raw, type Script, type SmtpPeer } from './support/smtp-peer.ts'

let world: World
let folder: string
let authority: Issued

beforeAll(async () => {
  authority = await issueAuthority('Authority of the tests')
  folder = await mkdtemp(path.join(tmpdir(), 'valija-ca-'))
  const file = path.join(folder, 'ca.pem')
  await writeFile(file, authority.cert)
  world = await startWorld({ env: { NODE_EXTRA_CA_CERTS: file } })
})
afterAll(async () => {
  await world?.stop()
  await rm(folder, { recursive: true, force: true })
})

const day = 86_400_000

/** What a peer shows, for the name of its host. */
async function certificateFor(host: string, more: object = {}): Promise<TlsOptions> {
  const { key, cert } = await issueServer([host], { issuer: authority, ...more })
  return { key, cert }
}

const PROMISES = ['require_tls', 'MTA-STS', 'DANE'] as const
type Promised = (typeof PROMISES)[number]

type Promise_ = {
  peer: SmtpPeer
  id: string
  /** Puts the peer right, in the eyes of whoever promised TLS. */
  mend: () => void
}

/** A site of a domain that promises TLS in this way, with what is wrong with it, and a mail on its way there. */
async function begin(domain: string, promised: Promised, wrong: Script): Promise<Promise_> {
  const host = `mx.${domain}`
  const good = await certificateFor(host)
  const peer = await world.internet.site(domain, { starttls: true })
  peer.script = { tls: good, ...wrong }
  const { dns } = world.internet
  if (promised === 'DANE') {
    dns.signed.add(domain)
    const record = `3 0 1 ${createHash('sha256')
      .update(derOf(String(good.cert)))
      .digest('hex')}`
    dns.set(`_${world.internet.port}._tcp.${host}`, 'TLSA', [record])
  }
  if (promised === 'MTA-STS') {
    // As a worker has stored it at an earlier mail: binding, whatever became of the record and of the policy's host since.
    await world.valija.sql(
      `INSERT INTO valija.mta_sts_policies (domain, policy_id, policy, max_age_seconds) VALUES ($1, '1', $2, 86400)`,
      [domain, policyText('enforce', [host])],
    )
  }
  const id = await world.post(`ann@${domain}`, promised === 'require_tls' ? { require_tls: true } : {})
  return {
    peer,
    id,
    mend: () => {
      peer.script = { tls: good }
    },
  }
}

function derOf(pem: string): Buffer {
  return Buffer.from(pem.replace(/-----[^-]+-----|\s/g, ''), 'base64')
}

/** Whatever the peer was told of a mail. */
const saidOfMail = (peer: SmtpPeer) => peer.transcript.filter((line) => /< (?:MAIL|RCPT|DATA)/.test(line))

/** The mail waits while the peer is wrong, tried more than once; it goes as soon as the peer is right. */
async function expectNeverInPlaintext(promised: Promised, { peer, id, mend }: Promise_): Promise<void> {
  const attempts = await world.tried(id, 2)
  for (const attempt of attempts) {
    expect(attempt).toMatchObject({ outcome: 'deferred', reason: 'tls', phase: 'tls', uncertain: false })
  }
  expect(await world.recipientOf(id)).toMatchObject({ reason: 'tls' })
  expect(saidOfMail(peer)).toEqual([])
  mend()
  const { recipient, attempts: all } = await world.fateOf(id)
  expect(recipient.status).toBe('delivered')
  const policy = { require_tls: 'required', 'MTA-STS': 'mta-sts', DANE: 'dane' }[promised]
  expect(all.at(-1)!.tls).toMatchObject({ verified: true, policy, detail: null })
  expect(peer.mails.map(({ isEncrypted }) => isEncrypted)).toEqual([true])
}

describe('W13', () => {
  const old = { minVersion: 'TLSv1', maxVersion: 'TLSv1', ciphers: 'DEFAULT:@SECLEVEL=0' } as const
  const rows: [
    what: string,
    wrong: (host: string) => Promise<TlsOptions>,
    detail: RegExp,
    version: string,
  ][] = [
    ['self-signed', async (host) => tlsOf(await issueServer([host])), /self-signed/, 'TLSv1.3'],
    [
      'expired',
      (host) =>
        certificateFor(host, {
          notBefore: new Date(Date.now() - 9 * day),
          notAfter: new Date(Date.now() - day),
        }),
      /expired/,
      'TLSv1.3',
    ],
    ['of another name', () => certificateFor('mx.other.test'), /is not for mx\./, 'TLSv1.3'],
    [
      'good, but TLS 1.0 is all it speaks',
      async (host) => ({ ...(await certificateFor(host)), ...old }),
      /^$/,
      'TLSv1',
    ],
  ]
  const tlsOf = ({ key, cert }: Issued): TlsOptions => ({ key, cert })

  test.concurrent.each(rows)(
    'W13: a certificate that is %s: opportunistic mail goes encrypted, and the attempt says what is wrong',
    async (what, wrong, detail, version) => {
      const domain = `w13-may-${rows.findIndex(([name]) => name === what)}.test`
      const peer = await world.internet.site(domain, { starttls: true })
      peer.script = { tls: await wrong(`mx.${domain}`) }
      const { recipient, attempts } = await world.send(`ann@${domain}`)
      expect(recipient).toMatchObject({ status: 'delivered', attempts: 1 })
      const { tls } = attempts[0]!
      expect(tls).toMatchObject({ version, policy: 'opportunistic', verified: tls!.detail === null })
      expect(tls!.detail ?? '').toMatch(detail)
      expect(peer.mails.map(({ isEncrypted }) => isEncrypted)).toEqual([true])
      expect(peer.sessions()).toBe(1)
    },
  )

  for (const promised of PROMISES) {
    test.concurrent.each(rows)(
      `W13: a certificate that is %s: mail with ${promised} waits, and goes when it is mended`,
      async (what, wrong) => {
        // DANE asks for the very certificate; for its name and its dates it does not care (RFC 7672 §3.1.1).
        const at = rows.findIndex(([name]) => name === what)
        const domain = `w13-${promised.toLowerCase().replace('_', '')}-${at}.test`
        await expectNeverInPlaintext(
          promised,
          await begin(domain, promised, { tls: await wrong(`mx.${domain}`) }),
        )
      },
    )
  }
})

describe('W14', () => {
  const stripped = '250-mx.example.test\n250-PIPELINING\n250 8BITMIME'

  test.concurrent('W14: without STARTTLS opportunistic mail goes in plaintext, and the attempt says so', async () => {
    const peer = await world.internet.site('w14-may.test', { starttls: true, script: { ehlo: stripped } })
    const { recipient, attempts } = await world.send('ann@w14-may.test')
    expect(recipient).toMatchObject({ status: 'delivered', attempts: 1 })
    expect(attempts[0]!.tls).toBeNull()
    expect(peer.mails.map(({ isEncrypted }) => isEncrypted)).toEqual([false])
  })

  test.concurrent.each(PROMISES)(
    'W14: without STARTTLS mail with %s waits, and goes when it is offered',
    async (promised) => {
      const domain = `w14-${promised.toLowerCase().replace('_', '')}.test`
      await expectNeverInPlaintext(promised, await begin(domain, promised, { ehlo: stripped }))
    },
  )
})

describe('W15', () => {
  const rows: [what: string, wrong: Script][] = [
    ['STARTTLS is answered 454', { starttls: '454 4.7.0 TLS not available' }],
    ['STARTTLS is answered 501', { starttls: '501 5.5.4 what' }],
    ['the handshake is answered with text', { handshake: 'garbage' }],
    ['the handshake ends in RST', { handshake: 'reset' }],
    ['the handshake ends in FIN', { handshake: 'close' }],
  ]

  test.concurrent.each(rows)(
    'W15: when %s, opportunistic mail goes in plaintext within the same attempt',
    async (what, wrong) => {
      const domain = `w15-may-${rows.findIndex(([name]) => name === what)}.test`
      const peer = await world.internet.site(domain, { starttls: true, script: wrong })
      const { recipient, attempts } = await world.send(`ann@${domain}`)
      expect(recipient).toMatchObject({ status: 'delivered', attempts: 1 })
      expect(attempts[0]).toMatchObject({ tls: null, uncertain: false })
      expect(attempts[0]!.transcript.map(({ line }) => line)).toContain('STARTTLS')
      expect(peer.mails.map(({ isEncrypted, session }) => [isEncrypted, session])).toEqual([[false, 2]])
    },
  )

  for (const promised of PROMISES) {
    test.concurrent.each(rows)(
      `W15: when %s, mail with ${promised} waits, and goes when that is mended`,
      async (what, wrong) => {
        const domain = `w15-${promised.toLowerCase().replace('_', '')}-${rows.findIndex(([name]) => name === what)}.test`
        await expectNeverInPlaintext(promised, await begin(domain, promised, wrong))
      },
    )
  }
})

describe('W16', () => {
  const rows: [what: string, injected: string][] = [
    ['a whole reply', '250-mx.evil.test\r\n250 SMTPUTF8\r\n'],
    ['half a reply', '250-mx.evil.test'],
    ['replies to all that could follow', '250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n250 taken\r\n'],
  ]
  test.concurrent.each(rows)(
    'W16: %s injected behind the reply to STARTTLS is no reply, and no reason for plaintext: the mail waits',
    async (what, injected) => {
      const domain = `w16-${rows.findIndex(([name]) => name === what)}.test`
      const peer = await world.internet.site(domain, { starttls: true })
      peer.script = { starttls: raw(`220 2.0.0 go ahead\r\n${injected}`) }
      const id = await world.post(`ann@${domain}`)
      for (const attempt of await world.tried(id, 2)) {
        expect(attempt).toMatchObject({
          outcome: 'deferred',
          reason: 'tls',
          phase: 'tls',
          reply: expect.stringContaining('STARTTLS'),
        })
      }
      expect(saidOfMail(peer)).toEqual([])
      peer.script = {}
      const { recipient, attempts } = await world.fateOf(id)
      expect(recipient.status).toBe('delivered')
      expect(attempts.at(-1)!.tls).toMatchObject({ policy: 'opportunistic' })
      expect(peer.mails.map(({ isEncrypted }) => isEncrypted)).toEqual([true])
    },
  )
})
