/** POST /send/preview. */
import { createResolver } from '@valija/courier'
import { noHosts, previewWarnings } from '@valija/flows'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { type DnsServer, startDnsServer } from '../../../../../tests/support/dns-server.ts'
import { message, openTestApi, type TestApi } from '../../open-api.test-support.ts'
import { asOperator, expectScope } from '../keys/refusals.test-support.ts'

const ip = '198.51.100.7'
let dns: DnsServer
let api: TestApi
beforeAll(async () => {
  dns = await startDnsServer({
    records: { 'bounces.ours.test': { MX: ['10 mx.ours.test'], TXT: [`v=spf1 ip4:${ip} -all`] } },
  })
  const resolver = createResolver({
    servers: [dns.address],
    cache: { entries: 0, bytes: 0 },
    timeoutMs: 3_000,
  })
  const domainHosts = { ...noHosts, bounceDomain: 'bounces.ours.test' }
  const sendingHosts = async () => [{ ip, ehloName: 'mx.ours.test' }]
  api = await openTestApi({ delivery: 'mx' }, { resolver, domainHosts, sendingHosts })
})
afterAll(async () => {
  await api?.close()
  await dns?.stop()
})

interface Shown {
  id: string
  records: { purpose: string; type: string; name: string; value: string }[]
}
/** A domain of the tenant whose records of these purposes are published, and have been seen. */
async function addDomain(name: string, purposes: RegExp): Promise<Shown> {
  const domain: Shown = (await api.ask('POST', '/domains', { body: { name } })).json()
  for (const record of domain.records.filter(({ purpose }) => purposes.test(purpose))) {
    dns.set(record.name, record.type as 'TXT', [record.value])
  }
  const shown = await api.ask('POST', `/domains/${domain.id}/verify`)
  expect(shown.json().status).toBe('verified')
  return domain
}
const preview = (fields: object = {}) =>
  api.ask('POST', '/send/preview', { body: { ...message, html: '<p>Thank <b>you</b></p>', ...fields } })
/** Once the API has noticed what was verified a moment ago. */
const previewFrom = async (domain: string, fields: object = {}) => {
  const ask = () => preview({ from: `Acme <hi@${domain}>`, ...fields })
  await expect.poll(async () => (await ask()).statusCode, { timeout: 5_000 }).toBe(200)
  return (await ask()).json()
}
const codes = ({ warnings }: { warnings: { code: string }[] }) => warnings.map(({ code }) => code)

describe('200', () => {
  test('all records right: it would pass, by both signatures and by SPF of a return path of its own', async () => {
    await addDomain('right.test', /./)
    const shown = await previewFrom('right.test', {
      attachments: [{ filename: 'a.txt', content: Buffer.from('hello').toString('base64') }],
    })
    expect(shown.authentication).toMatchObject({
      verdict: 'pass',
      dkim: [
        { domain: 'right.test', algorithm: 'rsa-sha256', result: 'pass', aligned: true },
        { domain: 'right.test', algorithm: 'ed25519-sha256', result: 'pass', aligned: true },
      ],
      spf: { domain: 'bounce.right.test', ip, result: 'pass', aligned: true },
      dmarc: { result: 'pass', policy: 'none', domain: 'right.test' },
    })
    expect(shown.warnings).toEqual([])
    expect(shown.envelope_from).toMatch(/^b-[a-z2-7]{58}@bounce\.right\.test$/)
    const raw = Buffer.from(shown.raw, 'base64')
    expect(shown.size_bytes).toBe(raw.length)
    expect(raw.toString()).toMatch(/^DKIM-Signature: [\s\S]*\r\nSubject: Your receipt\r\n/)
    expect(shown).toMatchObject({
      delivery: 'mx',
      recipients: [{ email: 'ann@example.test', type: 'to', suppressed: null }],
      from: 'Acme <hi@right.test>',
      subject: 'Your receipt',
      text: expect.stringMatching(/^Thank you!\s+$/),
      html: expect.stringContaining('<p>Thank <b>you</b></p>'),
      attachments: [{ filename: 'a.txt', content_type: 'text/plain', size_bytes: 5 }],
    })
    expect(shown.headers.map(({ name }: { name: string }) => name)).toContain('Feedback-ID')
  })

  test('sends nothing: no message, no event, no delivery', async () => {
    const count = async () =>
      (
        await api.foundation.database.engine.query(
          'SELECT (SELECT count(*) FROM valija.messages) + (SELECT count(*) FROM valija.deliveries) + (SELECT count(*) FROM valija.bodies) AS n',
        )
      ).rows[0]?.n
    const before = await count()
    await previewFrom('right.test')
    expect(await count()).toBe(before)
  })

  test('ownership alone: unsigned, SPF of our own host is not aligned, and a strict policy would have it refused', async () => {
    await addDomain('bare.test', /ownership/)
    const bare = await previewFrom('bare.test')
    expect(bare.authentication).toMatchObject({
      verdict: 'fail',
      dkim: [],
      spf: { domain: 'bounces.ours.test', result: 'pass', aligned: false },
      dmarc: { result: 'none', policy: null },
    })
    expect(codes(bare)).toEqual(['not_authenticated', 'not_signed', 'spf_not_aligned', 'no_dmarc_record'])
    dns.set('_dmarc.bare.test', 'TXT', ['v=DMARC1; p=reject'])
    const strict = await previewFrom('bare.test')
    expect(strict.authentication.dmarc).toEqual({ result: 'fail', policy: 'reject', domain: 'bare.test' })
    expect(codes(strict)).toContain('refused_by_policy')
  })

  test('a key that was right and is another one now: the signature would not pass, and says so', async () => {
    const { records } = await addDomain('turned.test', /ownership|dkim|return_path/)
    const [, rsa, ed25519] = records
    dns.set(rsa!.name, 'TXT', ['v=DKIM1; k=rsa; p='])
    dns.set(ed25519!.name, 'TXT', [ed25519!.value.replace(/p=.{6}/, 'p=AAAAAA')])
    const shown = await previewFrom('turned.test')
    expect(shown.authentication.dkim.map(({ result }: { result: string }) => result)).not.toContain('pass')
    expect(codes(shown).filter((code) => code === 'signature_fails')).toHaveLength(2)
    // SPF alone still carries it.
    expect(shown.authentication.verdict).toBe('pass')
  })

  test('an SPF record that does not name the address that mail leaves from', async () => {
    await addDomain('other.test', /ownership|dkim|return_path|dmarc/)
    dns.set('bounces.ours.test', 'TXT', ['v=spf1 ip4:203.0.113.1 -all'])
    const shown = await previewFrom('other.test')
    dns.set('bounces.ours.test', 'TXT', [`v=spf1 ip4:${ip} -all`])
    expect(shown.authentication.spf).toMatchObject({ ip, result: 'fail', aligned: true })
    expect(shown.warnings).toMatchObject([{ code: 'spf_fails', message: expect.stringContaining(ip) }])
    expect(shown.authentication.dmarc.result).toBe('pass')
  })

  test('suppressed recipients, simulated ones, and content that readers trouble with are told', async () => {
    await api.ask('POST', '/suppressions', { body: { email: 'Gone@example.test' } })
    const shown = await previewFrom('right.test', {
      to: ['gone@example.test', 'delivered@simulator.valija.test'],
      text: undefined,
      html: `<p>${'x'.repeat(110_000)}</p>`,
      stream: 'bulk',
    })
    const linked = await previewFrom('right.test', { stream: 'bulk', unsubscribe: true })
    expect(codes(linked)).toEqual([])
    expect(Buffer.from(linked.raw, 'base64').toString()).toMatch(
      /^List-Unsubscribe: <\S+\/unsubscribe\/preview>/m,
    )
    expect(shown.recipients[0]).toEqual({ email: 'gone@example.test', type: 'to', suppressed: 'manual' })
    expect(codes(shown)).toEqual([
      'suppressed_recipient',
      'simulated',
      'clipped',
      'no_text',
      'no_unsubscribe',
    ])
  })

  test('what is caught says so, and its SPF is not known', async () => {
    const shown = await previewFrom('right.test', { route: 'capture' })
    expect(shown.authentication).toMatchObject({ verdict: 'pass', spf: { result: 'unknown', ip: null } })
    expect(codes(shown)).toEqual(['stays_here'])
  })
})

describe('why it would not be signed', () => {
  const unsigned = ({ warnings }: { warnings: { code: string; message: string }[] }) =>
    warnings.find(({ code }) => code === 'not_signed')?.message

  test('keys that DNS was not seen to have; a domain that is vouched for without DKIM', async () => {
    expect(unsigned(await previewFrom('bare.test'))).toMatch(
      /: no key’s record was seen in DNS\. POST \/domains\/dom_/,
    )
    const as = asOperator(api.tenant.id)
    await api.ask('POST', '/domains', { ...as, body: { name: 'vouched.test', vouched: true } })
    const shown = await previewFrom('vouched.test')
    expect(unsigned(shown)).toMatch(/: the operator vouches for vouched\.test without DKIM\. .*"dkim":true/)
    expect(codes(shown)).not.toContain('domain_not_verified')
  })

  test('a domain that is none of the tenant’s, or not verified: taken by npm start only', async () => {
    const local = await openTestApi()
    onTestFinished(() => local.close())
    const ask = async (from: string) =>
      (await local.ask('POST', '/send/preview', { body: { ...message, from } })).json()
    const unknown = await ask('a@nowhere.test')
    expect(codes(unknown).slice(0, 1)).toEqual(['domain_not_verified'])
    expect(unsigned(unknown)).toMatch(
      /: nowhere\.test is not a domain of this tenant\. Add it by POST \/domains/,
    )
    await local.ask('POST', '/domains', { body: { name: 'waits.test' } })
    const waits = await ask('a@mail.waits.test')
    expect(waits.warnings[0]).toMatchObject({
      code: 'domain_not_verified',
      message: expect.stringMatching(/^waits\.test is not verified: .* POST \/domains\/dom_\w+\/verify/),
    })
    expect(unsigned(waits)).toContain(': waits.test is not verified.')
  })
})

test('every warning has a meaning that the reference page shows', async () => {
  const page = (await api.ask('GET', '/openapi.json', { key: null })).body
  expect(Object.keys(previewWarnings).filter((code) => !page.includes(`${code}: `))).toEqual([])
})

test('400 as POST /send, all faults at once', async () => {
  const { errors } = (await preview({ from: 'nobody', subject: undefined })).json()
  expect(errors.map(({ path }: { path: string }) => path)).toEqual(['/from', '/subject'])
})

test('401 and 403 without a key that has the scope send', () =>
  expectScope(api, 'POST', '/send/preview', 'send'))

test('403 from a domain that the tenant may not use', async () => {
  const answer = await preview({ from: 'a@foreign.test' })
  expect(answer.json()).toMatchObject({ status: 403, code: 'domain_not_verified' })
})
