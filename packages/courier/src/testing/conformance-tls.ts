/** Session conformance: TLS in all its ways, and the login. */
import { createHash, X509Certificate } from 'node:crypto'
import { beforeAll, describe, expect, test } from 'vitest'
import { defaultFeatures, type PeerScript } from './scripted-peer.ts'
import {
  always,
  envelopeTo,
  expectReport,
  mail,
  makeCertificate,
  queued,
  type SessionBench,
} from './session-bench.ts'

/** Refuses EHLO and takes HELO, on every other command. */
function helloOnly(): PeerScript {
  let greetings = 0
  return {
    get ehlo() {
      greetings += 1
      return greetings % 2 === 1 ? '502 5.5.1 what?' : '250 peer.example'
    },
  }
}

export function describeTls(bench: SessionBench): void {
  let certificate: { key: string; cert: string }
  let localCertificate: { key: string; cert: string }

  beforeAll(async () => {
    certificate = await makeCertificate('other.example')
    localCertificate = await makeCertificate('localhost')
  })
  describe('TLS', () => {
    const starttls = [...defaultFeatures, 'STARTTLS']

    test('STARTTLS is used where it is offered, and said to be unverified where it is', async () => {
      const report = await bench.attempt({ features: starttls, tls: certificate })
      expectReport(report, queued)
      expect(report.tls).toMatchObject({ version: 'TLSv1.3', verified: false, policy: 'opportunistic' })
      expect(report.tls?.detail).toBeTruthy()
      expect(bench.peer.connections[0]?.slice(0, 3)).toEqual([
        'EHLO us.example',
        'STARTTLS',
        'EHLO us.example',
      ])
    })

    test('old TLS is better than none, but not where TLS is required', async () => {
      const tls = { ...localCertificate, maxVersion: 'TLSv1' } as const
      const target = { host: 'localhost', ip: '127.0.0.1' }
      const report = await bench.attempt({ features: starttls, tls }, { target })
      expectReport(report, queued)
      expect(report.tls).toMatchObject({ version: 'TLSv1', policy: 'opportunistic' })
      const required = { ...target, tls: 'required', ca: localCertificate.cert } as const
      expectReport(await bench.attempt({ features: starttls, tls }, { target: required }), {
        phase: 'tls',
        failure: 'tls',
      })
    })

    test('many mails go over one encrypted connection', async () => {
      const used = await bench.begin({ features: starttls, tls: certificate })
      const bytes = Buffer.alloc(300_000, 'x'.repeat(76).concat('\r\n'))
      for (let i = 0; i < 10; i += 1) {
        const report = await used.send(envelopeTo('ann@example.com'), bytes, always, { route: 'mx' })
        expect(report.reply?.code).toBe(250)
      }
      expect(bench.peer.connections).toHaveLength(1)
      expect(bench.peer.mails.every(({ body }) => body.length >= bytes.length)).toBe(true)
    })

    test('a mail lost after its end over TLS is uncertain, one lost before is not', async () => {
      const script = { features: starttls, tls: certificate }
      expectReport(await bench.attempt({ ...script, dot: 'CLOSE' }), {
        phase: 'body',
        failure: 'connection_lost',
        isUncertain: true,
      })
      const bytes = Buffer.alloc(16_000_000, 'x'.repeat(76).concat('\r\n'))
      const inBody = { afterBytes: 100_000, act: 'RESET' } as const
      const lost = await bench.attempt({ ...script, inBody }, { bytes })
      expectReport(lost, { phase: 'body', failure: 'connection_lost' })
    })

    test('required TLS wants a verified name', async () => {
      const target = {
        host: 'localhost',
        ip: '127.0.0.1',
        tls: 'required',
        ca: localCertificate.cert,
      } as const
      const good = await bench.attempt({ features: starttls, tls: localCertificate }, { target })
      expectReport(good, queued)
      expect(good.tls).toMatchObject({ verified: true, policy: 'required', detail: null })
      const bad = await bench.attempt(
        { features: starttls, tls: certificate },
        { target: { ...target, ca: null } },
      )
      expectReport(bad, { phase: 'tls', failure: 'tls' })
      expect(bench.peer.connections).toHaveLength(1)
    })

    test('required TLS is never plaintext', async () => {
      const cases: PeerScript[] = [
        { features: defaultFeatures, starttls: '502 5.5.1 what?' },
        { features: starttls, starttls: '454 4.7.0 not now' },
        { features: starttls, handshake: 'FAIL' },
        helloOnly(),
      ]
      for (const tls of ['required', 'encrypted', 'dane'] as const) {
        for (const script of cases) {
          const auth = { user: 'ann', pass: 'hunter2-secret' }
          const report = await bench.attempt(script, { target: { tls, auth } })
          expect(report).toMatchObject({ phase: 'tls', failure: 'tls', isUncertain: false })
          expect(bench.peer.connections.flat().join()).not.toMatch(/MAIL|AUTH/)
          expect(bench.peer.connections).toHaveLength(1)
        }
      }
    })

    test('encrypted TLS takes any certificate, and says what is wrong with it', async () => {
      const report = await bench.attempt(
        { features: starttls, tls: certificate },
        { target: { host: 'localhost', ip: '127.0.0.1', tls: 'encrypted' } },
      )
      expectReport(report, queued)
      expect(report.tls).toMatchObject({ verified: false, policy: 'encrypted' })
      expect(report.tls?.detail).toContain('self-signed')
    })

    test('the certificate may bear any of the names that were given, and no other', async () => {
      const target = { host: 'localhost', ip: '127.0.0.1', tls: 'required', ca: certificate.cert } as const
      const script = { features: starttls, tls: certificate }
      const wrong = await bench.attempt(script, { target })
      expectReport(wrong, { phase: 'tls', failure: 'tls' })
      expect(wrong.detail).toContain('is not for localhost')
      const tlsNames = ['mail.example', 'other.example']
      const right = await bench.attempt(script, { target: { ...target, tlsNames, tlsPolicy: 'mta-sts' } })
      expectReport(right, queued)
      expect(right.tls).toMatchObject({ verified: true, policy: 'mta-sts', detail: null })
    })

    test('DANE wants the certificate that the TLSA records name, and no authority', async () => {
      const key = new X509Certificate(certificate.cert).publicKey.export({ type: 'spki', format: 'der' })
      const data = createHash('sha256').update(key).digest()
      const record = { usage: 3, selector: 1, matchingType: 1, data }
      const target = { host: 'localhost', ip: '127.0.0.1', tls: 'dane', tlsa: [record] } as const
      const right = await bench.attempt({ features: starttls, tls: certificate }, { target })
      expectReport(right, queued)
      expect(right.tls).toMatchObject({ verified: true, policy: 'dane', detail: null })
      const wrong = await bench.attempt({ features: starttls, tls: localCertificate }, { target })
      expectReport(wrong, { phase: 'tls', failure: 'tls' })
      expect(wrong.tls).toMatchObject({ verified: false, policy: 'dane' })
      expect(bench.peer.connections.flat().join()).not.toContain('MAIL')
    })

    test('every mail of a session says what its connection is encrypted with', async () => {
      const used = await bench.begin({ features: starttls, tls: certificate })
      const send = () => used.send(envelopeTo('ann@example.com'), mail, always, { route: 'mx' })
      const first = await send()
      expect((await send()).tls).toEqual(first.tls)
      expect(first.tls?.cipher).toBeTruthy()
      expect(used.peer).toEqual({ host: '127.0.0.1', ip: '127.0.0.1' })
    })

    test('opportunistic TLS tries again in plaintext after 454 and after a failed handshake', async () => {
      for (const script of [{ starttls: '454 4.7.0 not now' }, { handshake: 'FAIL' as const }]) {
        const report = await bench.attempt({ features: starttls, ...script })
        expectReport(report, queued)
        expect(report.tls).toBeNull()
        expect(bench.peer.connections).toHaveLength(2)
        const lines = report.transcript.map(({ line }) => line)
        expect(lines).toContain('STARTTLS')
        expect(lines).toContainEqual(expect.stringMatching(/^-- 127\.0\.0\.1:\d+: .+; again in plaintext$/))
      }
    })

    test('bytes behind the reply to STARTTLS end the attempt, without a second one', async () => {
      for (const injected of ['250-evil.example\r\n250 AUTH PLAIN\r\n', '250-evil.example']) {
        const report = await bench.attempt({
          features: starttls,
          tls: certificate,
          starttls: { raw: `220 go ahead\r\n${injected}` },
        })
        expectReport(report, { phase: 'tls', failure: 'tls' })
        expect(report.detail).toContain('STARTTLS')
        expect(bench.peer.connections).toHaveLength(1)
      }
    })

    test('silence in the handshake ends on time', async () => {
      const report = await bench.attempt(
        { features: starttls, starttls: { raw: '220 go\r\n' }, handshake: 'SILENCE' },
        { target: { tls: 'required' }, deadlines: { tlsMs: 150 } },
      )
      expectReport(report, { phase: 'tls', failure: 'timeout' })
    })

    test('TLS from the first byte', async () => {
      const tls = { ...localCertificate, isImplicit: true }
      const target = {
        host: 'localhost',
        ip: '127.0.0.1',
        secure: true,
        tls: 'required',
        ca: localCertificate.cert,
      } as const
      const report = await bench.attempt({ tls }, { target })
      expectReport(report, queued)
      expect(report.tls).toMatchObject({ verified: true, policy: 'implicit' })
      const bad = await bench.attempt({ tls }, { target: { ...target, ca: null } })
      expectReport(bad, { phase: 'tls', failure: 'tls' })
    })
  })
}

export function describeLogin(bench: SessionBench): void {
  describe('login', () => {
    const auth = { user: 'ann', pass: 'hunter2-secret' }

    test.each(['PLAIN', 'LOGIN'])('AUTH %s, and no trace of the password', async (mechanism) => {
      const report = await bench.attempt(
        { features: [...defaultFeatures, `AUTH ${mechanism}`] },
        { target: { auth } },
      )
      expectReport(report, queued)
      const said = bench.peer.connections[0]?.join('\n') ?? ''
      const secret = mechanism === 'PLAIN' ? `\0${auth.user}\0${auth.pass}` : auth.pass
      expect(said).toContain(Buffer.from(secret).toString('base64'))
      const transcript = JSON.stringify(report.transcript)
      expect(transcript).toContain(`AUTH ${mechanism}`)
      for (const text of [secret, auth.user, auth.pass]) {
        expect(transcript).not.toContain(Buffer.from(text).toString('base64').slice(0, 6))
      }
    })

    test('535 is a refused login, 454 is for later', async () => {
      const features = ['AUTH PLAIN']
      const refused = await bench.attempt({ features, auth: '535 5.7.8 wrong' }, { target: { auth } })
      expectReport(refused, { phase: 'auth', failure: 'login_refused', reply: '535 5.7.8 wrong' })
      const later = await bench.attempt({ features, auth: '454 4.7.0 later' }, { target: { auth } })
      expectReport(later, { phase: 'auth', reply: '454 4.7.0 later' })
    })

    test('a peer without AUTH refuses the login', async () => {
      const report = await bench.attempt({ features: [] }, { target: { auth } })
      expectReport(report, { phase: 'auth', failure: 'login_refused' })
    })
  })
}
