import { describe, expect, test } from 'vitest'
import { dmarcCauses, type FailingSource, judgeSource, judgeTlsFailure } from './domain-report.ts'

const source: FailingSource = {
  ip: '192.0.2.9',
  isOurs: false,
  signature: 'none',
  signedBy: '',
  spfDomain: '',
  headerFrom: 'acme.test',
  override: '',
}

const judged: [string, Partial<FailingSource>, string, RegExp][] = [
  [
    'our address, our signature broken',
    { isOurs: true, signature: 'broken' },
    'own_signature_broken',
    /verify/,
  ],
  ['our address, no signature', { isOurs: true }, 'own_unsigned', /Publish the DKIM records/],
  ['our address, SPF of a relay', { isOurs: true, spfDomain: 'relay.test' }, 'own_unsigned', /return-path/],
  ['our signature, valid, for another domain', { signature: 'valid' }, 'not_aligned', /acme\.test/],
  ['our signature, broken, elsewhere', { signature: 'broken' }, 'forwarded', /Nothing is wrong/],
  ['called a mailing list', { override: 'mailing_list' }, 'forwarded', /192\.0\.2\.9/],
  ['signed by another', { signedBy: 'mailer.test', spfDomain: 'x.test' }, 'other_service', /of mailer\.test/],
  ['SPF of another', { spfDomain: 'x.test' }, 'other_service', /of x\.test/],
  ['nothing', {}, 'unauthenticated', /192\.0\.2\.9 sends with acme\.test/],
  ['the rest', { ip: '', headerFrom: '' }, 'many_sources', /more sources/],
]

describe('a source that did not pass', () => {
  test.each(judged)('%s', (_, facts, cause, words) => {
    const advice = judgeSource({ ...source, ...facts })
    expect(advice.cause).toBe(cause)
    expect(`${advice.meaning} ${advice.fix}`).toMatch(words)
  })

  test('every cause is met here', () => {
    expect(new Set(judged.map(([, , cause]) => cause))).toEqual(new Set(dmarcCauses))
  })
})

describe('a failure of TLS', () => {
  test('known by its name in RFC 8460 says what to do', () => {
    expect(judgeTlsFailure('certificate-expired').fix).toContain('Renew')
  })

  test.each(['made-up', '', 'constructor', '__proto__'])(
    'named %j is told as one that nobody knows',
    (result) => {
      expect(judgeTlsFailure(result)).toMatchObject({ meaning: expect.stringContaining('does not say') })
    },
  )
})
