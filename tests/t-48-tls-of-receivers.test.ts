/**
 * What receivers promise of their TLS, from the DNS and from a policy host to the wire: TLSA records that DNSSEC vouches for
 * (RFC 7672), MTA-STS policies fetched over HTTPS (RFC 8461), and `require_tls`. A promise is kept or the mail waits; what nobody
 * vouches for promises nothing; and of all that counts are kept (RFC 8460).
 */
import { createHash } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startWorld, type World } from './support/hostile-world.ts'
import { type Issued, issueAuthority, issueServer } from './support/issue-certificate.ts'
import { type PolicyHost, policyAnswer, policyText, startPolicyHost } from './support/policy-host.ts'
import type { SmtpPeer } from './support/smtp-peer.ts'
import { needsRoot } from './support/until.ts'
import { expectStatus } from './support/valija.ts'

let world: World
let folder: string
/** The workers trust it besides the public ones. */
let authority: Issued

beforeAll(async () => {
  authority = await issueAuthority('Authority of the tests')
  folder = await mkdtemp(path.join(os.tmpdir(), 'valija-ca-'))
  const file = path.join(folder, 'ca.pem')
  await writeFile(file, authority.cert)
  world = await startWorld({ env: { NODE_EXTRA_CA_CERTS: file }, dns: { ttl: 1, negativeTtl: 1 } })
})
afterAll(async () => {
  await world?.stop()
  await rm(folder, { recursive: true, force: true })
})

/** A domain with one exchanger, `mx.` below it, that shows this certificate; absent: a good one. */
async function siteOf(domain: string, shown?: Issued): Promise<SmtpPeer> {
  const peer = await world.internet.site(domain, { starttls: true })
  peer.script = { tls: tlsOf(shown ?? (await issueServer([`mx.${domain}`], { issuer: authority }))) }
  return peer
}

const tlsOf = ({ key, cert }: Issued) => ({ key, cert })
const keyOf = ({ certificate }: Issued) =>
  digestOf(certificate.publicKey.export({ type: 'spki', format: 'der' }))
const digestOf = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex')
const publishTlsa = (host: string, ...records: string[]) =>
  world.internet.dns.set(`_${world.internet.port}._tcp.${host}`, 'TLSA', records)
const tlsaQuestions = (host: string) =>
  world.internet.dns.count(`_${world.internet.port}._tcp.${host}`, 'TLSA')
const saidOfMail = (peer: SmtpPeer) => peer.transcript.filter((line) => /< (?:MAIL|RCPT|DATA)/.test(line))

/** The mail waits because of TLS, and no word of it was said. */
async function expectWaiting(id: string, peer: SmtpPeer): Promise<string> {
  const [attempt] = await world.tried(id)
  expect(attempt).toMatchObject({ outcome: 'deferred', reason: 'tls', uncertain: false })
  expect(saidOfMail(peer)).toEqual([])
  return attempt?.reply ?? ''
}

/** It goes once what was wrong is mended, under this policy. */
async function expectGone(id: string, peer: SmtpPeer, policy: string): Promise<void> {
  const { recipient, attempts } = await world.fateOf(id)
  expect(recipient.status).toBe('delivered')
  expect(attempts.at(-1)?.tls).toMatchObject({ verified: true, policy, detail: null })
  expect(peer.mails.map(({ isEncrypted }) => isEncrypted)).toEqual([true])
}

describe('DANE', () => {
  const signed = (...names: string[]) => {
    for (const name of names) world.internet.dns.signed.add(name)
  }

  test.concurrent('3 1 1 is enough: no authority, no name, no date is looked at', async () => {
    const shown = await issueServer(['somebody.test'], { notAfter: new Date(Date.now() - 86_400_000) })
    const peer = await siteOf('ee.test', shown)
    signed('ee.test')
    publishTlsa('mx.ee.test', `3 1 1 ${keyOf(shown)}`)
    await expectGone(await world.post('ann@ee.test'), peer, 'dane')
  })

  test.concurrent('2 0 1 names an authority that nobody else knows, and then the name counts', async () => {
    const own = await issueAuthority('Authority of ta.test')
    const issued = await issueServer(['mx.ta.test'], { issuer: own })
    const peer = await siteOf('ta.test', { ...issued, cert: `${issued.cert}\n${own.cert}` })
    signed('ta.test')
    publishTlsa('mx.ta.test', `2 0 1 ${digestOf(own.certificate.raw)}`)
    await expectGone(await world.post('ann@ta.test'), peer, 'dane')

    const other = await issueServer(['mx.other.test'], { issuer: own })
    const peer2 = await siteOf('ta2.test', { ...other, cert: `${other.cert}\n${own.cert}` })
    signed('ta2.test')
    publishTlsa('mx.ta2.test', `2 0 1 ${digestOf(own.certificate.raw)}`)
    await expectWaiting(await world.post('ann@ta2.test'), peer2)
  })

  test.concurrent('a record of another key: the mail waits, also for a certificate that everybody trusts, until it is mended', async () => {
    const shown = await issueServer(['mx.wrong.test'], { issuer: authority })
    const peer = await siteOf('wrong.test', shown)
    signed('wrong.test')
    publishTlsa('mx.wrong.test', `3 1 1 ${digestOf(Buffer.from('another key'))}`)
    const id = await world.post('ann@wrong.test')
    expect(await expectWaiting(id, peer)).toMatch(/matches none of the TLSA records/)
    publishTlsa('mx.wrong.test', `3 1 1 ${digestOf(Buffer.from('another key'))}`, `3 1 1 ${keyOf(shown)}`)
    await expectGone(id, peer, 'dane')
  })

  test.concurrent('records that cannot be looked up: nobody is called, until they can', async () => {
    const shown = await issueServer(['mx.servfail.test'])
    const peer = await siteOf('servfail.test', shown)
    signed('servfail.test')
    const { dns, port } = world.internet
    publishTlsa('mx.servfail.test', `3 1 1 ${keyOf(shown)}`)
    dns.behaviour[`_${port}._tcp.mx.servfail.test TLSA`] = 'servfail'
    const id = await world.post('ann@servfail.test')
    expect(await expectWaiting(id, peer)).toMatch(/TLSA records .* cannot be looked up now/)
    expect(peer.sessions()).toBe(0)
    delete dns.behaviour[`_${port}._tcp.mx.servfail.test TLSA`]
    await expectGone(id, peer, 'dane')
  })

  test.concurrent('records that nobody can use still promise TLS, of whatever certificate', async () => {
    const peer = await siteOf('pkix.test', await issueServer(['somebody.test']))
    signed('pkix.test')
    publishTlsa('mx.pkix.test', `0 0 1 ${digestOf(Buffer.from('x'))}`)
    const withTls = await world.send('ann@pkix.test')
    expect(withTls.recipient.status).toBe('delivered')
    expect(withTls.attempts[0]?.tls).toMatchObject({ verified: false, policy: 'dane' })
    expect(peer.mails[0]?.isEncrypted).toBe(true)

    const plain = await world.internet.site('pkix2.test')
    signed('pkix2.test')
    publishTlsa('mx.pkix2.test', `0 0 1 ${digestOf(Buffer.from('x'))}`)
    await expectWaiting(await world.post('ann@pkix2.test'), plain)
  })

  test.concurrent('the next exchanger takes it when the best one shows the wrong key, within the same attempt', async () => {
    const [bad, good] = [await issueServer(['mx1.pair.test']), await issueServer(['mx2.pair.test'])]
    const { internet } = world
    const first = await internet.exchanger('mx1.pair.test', { starttls: true, script: { tls: tlsOf(bad) } })
    const second = await internet.exchanger('mx2.pair.test', { starttls: true, script: { tls: tlsOf(good) } })
    internet.dns.set('pair.test', 'MX', ['10 mx1.pair.test', '20 mx2.pair.test'])
    signed('pair.test')
    for (const host of ['mx1.pair.test', 'mx2.pair.test']) publishTlsa(host, `3 1 1 ${keyOf(good)}`)
    const id = await world.post('ann@pair.test')
    await expectGone(id, second, 'dane')
    expect(saidOfMail(first)).toEqual([])
    expect(await world.tried(id)).toHaveLength(1)
  })

  const unvouched: [what: string, domain: string, names: string[]][] = [
    ['nothing is signed', 'none.test', []],
    ['only the domain is signed, and its exchanger is elsewhere', 'half.test', ['half.test']],
    ['only the exchanger is signed', 'otherhalf.test', ['mx-otherhalf.test']],
  ]
  test.concurrent.each(unvouched)(
    'where %s TLSA records are not asked for, and promise nothing',
    async (_, domain, names) => {
      const host = `mx-${domain}`
      const script = { tls: tlsOf(await issueServer(['somebody.test'])) }
      const peer = await world.internet.exchanger(host, { starttls: true, script })
      world.internet.dns.set(domain, 'MX', [`10 ${host}`])
      signed(...names)
      publishTlsa(host, `3 1 1 ${digestOf(Buffer.from('another key'))}`)
      const { recipient, attempts } = await world.send(`ann@${domain}`)
      expect(recipient.status).toBe('delivered')
      expect(attempts[0]?.tls).toMatchObject({ verified: false, policy: 'opportunistic' })
      expect(peer.mails).toHaveLength(1)
      expect(tlsaQuestions(host)).toBe(0)
    },
  )

  test.concurrent('a signed host without records is any other host', async () => {
    await siteOf('bare.test', await issueServer(['somebody.test']))
    signed('bare.test')
    const { recipient, attempts } = await world.send('ann@bare.test')
    expect([recipient.status, attempts[0]?.tls?.policy]).toEqual(['delivered', 'opportunistic'])
    expect(tlsaQuestions('mx.bare.test')).toBeGreaterThan(0)
  })
})

describe('require_tls', () => {
  test.concurrent('a certificate that nobody vouches for: the mail waits, another one to the same place goes', async () => {
    const peer = await siteOf('selfsigned.test', await issueServer(['mx.selfsigned.test']))
    const id = await world.post('ann@selfsigned.test', { require_tls: true })
    expect(await expectWaiting(id, peer)).toMatch(/self-signed/)
    expect((await world.send('bob@selfsigned.test')).recipient.status).toBe('delivered')
    expect(peer.mails.map(({ to }) => to)).toEqual([['bob@selfsigned.test']])
    peer.script = { tls: tlsOf(await issueServer(['mx.selfsigned.test'], { issuer: authority })) }
    const { recipient, attempts } = await world.fateOf(id)
    expect(recipient.status).toBe('delivered')
    expect(attempts.at(-1)?.tls).toMatchObject({ verified: true, policy: 'required' })
  })

  test.concurrent('is passed on to a server that understands it (RFC 8689)', async () => {
    const extensions = ['PIPELINING', 'REQUIRETLS']
    const peer = await world.internet.site('passes.test', { starttls: true, extensions })
    peer.script = { tls: tlsOf(await issueServer(['mx.passes.test'], { issuer: authority })) }
    await expectGone(await world.post('ann@passes.test', { require_tls: true }), peer, 'required')
    expect(peer.mails[0]?.fromParameters).toMatch(/\bREQUIRETLS\b/)
    await world.send('bob@passes.test')
    expect(peer.mails[1]?.fromParameters).not.toMatch(/REQUIRETLS/)
  })

  test.concurrent('TLSA records that match are as good as an authority', async () => {
    const shown = await issueServer(['mx.either.test'])
    const peer = await siteOf('either.test', shown)
    world.internet.dns.signed.add('either.test')
    publishTlsa('mx.either.test', `3 1 1 ${keyOf(shown)}`)
    await expectGone(await world.post('ann@either.test', { require_tls: true }), peer, 'dane')
  })
})

describe.skipIf(needsRoot('a policy host at port 443'))('MTA-STS', () => {
  const domains = [
    'enforce',
    'unnamed',
    'badcert',
    'testing',
    'binding',
    'wildcard',
    'danefirst',
    'withdrawn',
  ]
  /** Where mta-sts.<domain> is, for all of them; and another one, with a certificate that nobody trusts. */
  let host: PolicyHost
  let untrusted: PolicyHost
  const texts = new Map<string, string>()

  beforeAll(async () => {
    // Port 443 cannot be another one, so the addresses must be nobody else's.
    const address = (last: number) => ({
      host: `127.${((process.pid >> 8) % 200) + 20}.${process.pid & 255}.${last}`,
      port: 443,
    })
    const names = domains.map((name) => `mta-sts.${name}.test`)
    host = await startPolicyHost(names, await issueServer(names, { issuer: authority }), address(2))
    untrusted = await startPolicyHost(['mta-sts.untrusted.test'], undefined, address(3))
    host.answer = (request, response) => {
      const text = texts.get(request.headers.host?.replace(/^mta-sts\./, '') ?? '')
      policyAnswer(text ?? 'no policy')(request, response)
    }
    untrusted.answer = policyAnswer(policyText('enforce', ['mx.nobody.test']))
    for (const name of names) world.internet.dns.set(name, 'A', [address(2).host])
    world.internet.dns.set('mta-sts.untrusted.test', 'A', [address(3).host])
  })
  afterAll(() => {
    host?.close()
    untrusted?.close()
  })

  const publish = (domain: string, id: string, text?: string) => {
    if (text !== undefined) texts.set(domain, text)
    world.internet.dns.set(`_mta-sts.${domain}`, 'TXT', [`v=STSv1; id=${id};`])
  }
  const fetches = (domain: string) => host.requests.filter((line) => line.includes(` mta-sts.${domain}/`))

  test.concurrent('enforce, and all is well: delivered to a verified name, and one fetch serves many mails', async () => {
    const peer = await siteOf('enforce.test')
    publish('enforce.test', '1', policyText('enforce', ['mx.enforce.test']))
    const first = await world.post('ann@enforce.test')
    await expectGone(first, peer, 'mta-sts')
    for (const name of ['bob', 'carl', 'dora']) await world.send(`${name}@enforce.test`)
    expect(fetches('enforce.test')).toEqual(['GET mta-sts.enforce.test/.well-known/mta-sts.txt'])
    const kept = await world.valija.sql(
      `SELECT policy_id FROM valija.mta_sts_policies WHERE domain = 'enforce.test'`,
    )
    expect(kept).toEqual([{ policy_id: '1' }])
  })

  test.concurrent('enforce, and the exchanger is not named: nobody is called, until a newer policy names it', async () => {
    const peer = await siteOf('unnamed.test')
    publish('unnamed.test', '1', policyText('enforce', ['mx.other.test', '*.other.test']))
    const id = await world.post('ann@unnamed.test')
    expect(await expectWaiting(id, peer)).toMatch(/does not name mx\.unnamed\.test/)
    expect(peer.sessions()).toBe(0)
    publish('unnamed.test', '2', policyText('enforce', ['mx.unnamed.test']))
    await expectGone(id, peer, 'mta-sts')
  })

  test.concurrent('enforce, and the certificate is not verified: the mail waits', async () => {
    const peer = await siteOf('badcert.test', await issueServer(['mx.badcert.test']))
    publish('badcert.test', '1', policyText('enforce', ['mx.badcert.test']))
    expect(await expectWaiting(await world.post('ann@badcert.test'), peer)).toMatch(/self-signed/)
  })

  test.concurrent('a name with an asterisk stands for one label', async () => {
    const peer = await siteOf('wildcard.test')
    publish('wildcard.test', '1', policyText('enforce', ['*.wildcard.test']))
    await expectGone(await world.post('ann@wildcard.test'), peer, 'mta-sts')
  })

  test.concurrent('testing: delivered, whatever is wrong', async () => {
    await siteOf('testing.test', await issueServer(['mx.testing.test']))
    publish('testing.test', '1', policyText('testing', ['mx.other.test']))
    const { recipient, attempts } = await world.send('ann@testing.test')
    expect([recipient.status, attempts[0]?.tls?.verified]).toEqual(['delivered', false])
  })

  test.concurrent('none takes a policy back', async () => {
    await siteOf('withdrawn.test', await issueServer(['mx.withdrawn.test']))
    publish('withdrawn.test', '1', policyText('none', []))
    expect((await world.send('ann@withdrawn.test')).recipient.status).toBe('delivered')
    expect(fetches('withdrawn.test')).toHaveLength(1)
  })

  test.concurrent('once seen a policy binds, though its record and its host are gone', async () => {
    const peer = await siteOf('binding.test')
    publish('binding.test', '1', policyText('enforce', ['mx.binding.test']))
    await expectGone(await world.post('ann@binding.test'), peer, 'mta-sts')
    const { dns } = world.internet
    dns.remove('_mta-sts.binding.test')
    dns.remove('mta-sts.binding.test')
    peer.script = { tls: tlsOf(await issueServer(['mx.binding.test'])) }
    peer.cut()
    peer.transcript.length = 0
    const asked = dns.count('_mta-sts.binding.test', 'TXT')
    const id = await world.post('bob@binding.test')
    await expectWaiting(id, peer)
    // Until here the answers of before may have been remembered.
    await dns.asked('_mta-sts.binding.test', 'TXT', asked + 1)
    const { length } = await world.tried(id)
    const later = (await world.tried(id, length + 2)).slice(length)
    expect(later.map(({ outcome, reason }) => [outcome, reason])).toEqual(
      later.map(() => ['deferred', 'tls']),
    )
    expect(saidOfMail(peer)).toEqual([])
  })

  test.concurrent('where TLSA records decide nobody asks for a policy', async () => {
    const shown = await issueServer(['mx.danefirst.test'])
    const peer = await siteOf('danefirst.test', shown)
    world.internet.dns.signed.add('danefirst.test')
    publishTlsa('mx.danefirst.test', `3 1 1 ${keyOf(shown)}`)
    publish('danefirst.test', '1', policyText('enforce', ['mx.other.test']))
    await expectGone(await world.post('ann@danefirst.test'), peer, 'dane')
    expect(fetches('danefirst.test')).toEqual([])
  })

  test.concurrent('a policy from a host that nobody vouches for is none', async () => {
    await siteOf('untrusted.test')
    publish('untrusted.test', '1')
    const { recipient, attempts } = await world.send('ann@untrusted.test')
    expect([recipient.status, attempts[0]?.tls?.policy]).toEqual(['delivered', 'opportunistic'])
    expect(untrusted.requests).toEqual([])
  })
})

test('the report has counts of all that', async () => {
  type Row = { domain: string; policy: string; mx: string; result: string; sessions: number }
  const { valija } = world
  await valija.workers[0]?.stop()
  const rowsOf = async (domain: string) => {
    const { json } = expectStatus(
      await valija.admin<{ data: Row[] }>('GET', `/tls-report?domain=${domain}`),
      200,
    )
    // There is one for each day in UTC, and midnight may have been among all that.
    const sums = new Map<string, number>()
    for (const { policy, mx, result, sessions } of json.data) {
      const key = `${policy} ${mx} ${result}`
      sums.set(key, (sums.get(key) ?? 0) + sessions)
    }
    return [...sums].map(([key, sessions]) => `${key} ${sessions > 0}`).sort()
  }
  expect(await rowsOf('ee.test')).toEqual(['tlsa mx.ee.test success true'])
  expect(await rowsOf('wrong.test')).toEqual([
    'tlsa mx.wrong.test success true',
    'tlsa mx.wrong.test validation-failure true',
  ])
  expect(await rowsOf('servfail.test')).toEqual([
    'tlsa mx.servfail.test dnssec-invalid true',
    'tlsa mx.servfail.test success true',
  ])
  expect(await rowsOf('pkix.test')).toEqual(['tlsa mx.pkix.test tlsa-invalid true'])
  expect(await rowsOf('half.test')).toEqual(['no-policy-found mx-half.test success true'])
  if (process.getuid?.() !== 0) return
  expect(await rowsOf('enforce.test')).toEqual(['sts mx.enforce.test success true'])
  expect(await rowsOf('unnamed.test')).toEqual([
    'sts mx.unnamed.test success true',
    'sts mx.unnamed.test validation-failure true',
  ])
  expect(await rowsOf('badcert.test')).toEqual(['sts mx.badcert.test certificate-not-trusted true'])
  expect(await rowsOf('testing.test')).toEqual(['sts mx.testing.test validation-failure true'])
  expect(await rowsOf('untrusted.test')).toEqual(['sts mx.untrusted.test sts-webpki-invalid true'])
})
