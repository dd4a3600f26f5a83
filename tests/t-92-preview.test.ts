/** A preview says what becomes true: the mail that arrives is the one that was shown, and receivers' checks come out as foretold. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { verifyByMailauth } from './support/dkim-verifiers.ts'
import type { ZoneType } from './support/dns-server.ts'
import { type Internet, startInternet } from './support/internet.ts'
import { post, untilEnded } from './support/message-life.ts'
import type { SmtpPeer } from './support/smtp-peer.ts'
import { until } from './support/until.ts'
import { expectStatus, startValija, type Valija } from './support/valija.ts'

type Shown = { id: string; records: { purpose: string; type: ZoneType; name: string; value: string }[] }
type Preview = {
  envelope_from: string
  raw: string
  size_bytes: number
  authentication: {
    verdict: string
    dkim: { algorithm: string; result: string; aligned: boolean }[]
    spf: { domain: string; ip: string | null; result: string; aligned: boolean }
    dmarc: { result: string; policy: string | null }
  }
  warnings: { code: string }[]
}

let internet: Internet
let peer: SmtpPeer
let valija: Valija

beforeAll(async () => {
  internet = await startInternet()
  peer = await internet.site('example.org')
  const { dns } = internet
  dns.set('valija.example.test', 'A', ['127.0.0.1'])
  dns.set('bounce.example.test', 'MX', ['10 mx.example.test'])
  dns.set('bounce.example.test', 'TXT', ['v=spf1 ip4:127.0.0.1 -all'])
  valija = await startValija({ queue: 'postgres', delivery: 'mx', internet })
})
afterAll(async () => {
  await valija?.stop()
  await internet?.stop()
})

/** A domain of which these records are published and were seen; ready when mail of it is taken. */
async function addDomain(name: string, purposes: RegExp): Promise<Shown['records']> {
  const { id, records } = expectStatus(await valija.api<Shown>('POST', '/domains', { name }), 201).json
  const published = records.filter(({ purpose }) => purposes.test(purpose))
  for (const record of published) internet.dns.set(record.name, record.type, [record.value])
  expectStatus(await valija.api('POST', `/domains/${id}/verify`), 200)
  await until(`${name} may send`, async () => (await preview({ from: `a@${name}` })).status === 200)
  return published
}
const preview = (fields: Record<string, unknown>) =>
  valija.api<Preview>('POST', '/send/preview', valija.mail(fields))
const previewed = async (fields: Record<string, unknown>) => expectStatus(await preview(fields), 200).json

describe.each([
  { zone: 'all records right', domain: 'right.test', purposes: /./ },
  { zone: 'DKIM alone', domain: 'dkim.test', purposes: /ownership|dkim|dmarc/ },
  { zone: 'nothing but ownership', domain: 'bare.test', purposes: /ownership/ },
])('$zone', ({ domain, purposes }) => {
  test('the mail that arrives is signed, and by whom the envelope is sent, as was shown', async () => {
    const records = await addDomain(domain, purposes)
    const fields = { from: `Acme <a@${domain}>`, to: `${domain}@example.org`, html: '<p>Grüße</p>' }
    const shown = await previewed(fields)
    await untilEnded(valija.api, await post(valija.api, valija.mail(fields)))
    const arrived = peer.mails.find(({ to }) => to.includes(fields.to))
    const keys = Object.fromEntries(records.map(({ name, value }) => [name, value]))
    const [verdicts = []] = await verifyByMailauth([arrived!.raw], keys)
    const foretold = shown.authentication.dkim.map(({ algorithm, result }) => `${algorithm}: ${result}`)
    expect(foretold).toEqual(verdicts)
    const hostOf = (address: string) => address.slice(address.indexOf('@'))
    expect(hostOf(arrived!.from)).toBe(hostOf(shown.envelope_from))
    // But for what is each mail's own, they are the same octet for octet.
    expect(withoutOwn(Buffer.from(shown.raw, 'base64').toString('latin1'))).toBe(withoutOwn(arrived!.text))
  })
})

/** Without signatures, Message-ID, Date and what is made of the message's id. */
function withoutOwn(mail: string): string {
  const boundary = /boundary="([^"]+)"/.exec(mail)?.[1] ?? '—'
  return mail
    .replace(/^(?:DKIM-Signature|Message-ID|Date|X-Valija-[A-Za-z-]+): .*(?:\r\n[ \t].*)*\r\n/gm, '')
    .replaceAll(boundary, 'boundary')
    .trimEnd()
}

test('the verdict is DMARC’s: passed and aligned by either, or what the policy asks for', async () => {
  const verdicts = await Promise.all(
    ['right.test', 'dkim.test', 'bare.test'].map(async (domain) => {
      const { authentication, warnings } = await previewed({ from: `a@${domain}` })
      const { verdict, spf, dmarc } = authentication
      return [
        domain,
        verdict,
        spf.domain,
        spf.result,
        spf.aligned,
        dmarc.result,
        warnings.map(({ code }) => code),
      ]
    }),
  )
  expect(verdicts).toEqual([
    ['right.test', 'pass', 'bounce.right.test', 'pass', true, 'pass', []],
    ['dkim.test', 'pass', 'bounce.example.test', 'pass', false, 'pass', ['spf_not_aligned']],
    [
      ...['bare.test', 'fail', 'bounce.example.test', 'pass', false, 'none'],
      ['not_authenticated', 'not_signed', 'spf_not_aligned', 'no_dmarc_record'],
    ],
  ])
  internet.dns.set('_dmarc.bare.test', 'TXT', ['v=DMARC1; p=quarantine'])
  const strict = await previewed({ from: 'a@bare.test' })
  expect(strict.authentication.dmarc).toMatchObject({ result: 'fail', policy: 'quarantine' })
  expect(strict.warnings.map(({ code }) => code)).toContain('refused_by_policy')
})

test('nothing of a preview is stored or sent', async () => {
  const before = [await countRows(), peer.mails.length]
  await previewed({ from: 'a@right.test', to: 'nobody@example.org' })
  expect([await countRows(), peer.mails.length]).toEqual(before)
})

async function countRows(): Promise<unknown> {
  return valija.sql(
    'SELECT (SELECT count(*) FROM valija.messages) AS m, (SELECT count(*) FROM valija.deliveries) AS d, (SELECT count(*) FROM valija.events) AS e',
  )
}
