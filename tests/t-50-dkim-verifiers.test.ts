/**
 * DKIM signatures against verifiers that are not ours (N20), over mails as nobody would write them: what is signed passes
 * everywhere, for RSA and for Ed25519, and what was touched afterwards passes nowhere.
 */
import { createHash } from 'node:crypto'
import { type DkimKey, dkimRecordText, generateDkimKey, signMail } from '@valija/mail'
import fc from 'fast-check'
import { beforeAll, describe, expect, test } from 'vitest'
import { bothPass, dkimVerifiers, verifyByOpendkim } from './support/dkim-verifiers.ts'
import { oddComposition, oddRawMail } from './support/odd-mails.ts'
import { needsProgram } from './support/until.ts'

const signedAt = new Date('2026-11-23T10:00:00Z')
const keys: DkimKey[] = []
const records: Record<string, string> = {}
let raw: Buffer[]
let composed: Buffer[]

/** As a receiver gets it: DATA ends every last line (RFC 5321 §4.1.1.4). */
const sign = async (mail: Buffer, by = keys) => {
  const end = Buffer.from(mail.at(-1) === 0x0a ? '' : '\r\n')
  return Buffer.concat([await signMail(mail, by, { signedAt }), mail, end])
}

beforeAll(async () => {
  for (const algorithm of ['rsa', 'ed25519'] as const) {
    const { privateKey, publicKey } = await generateDkimKey(algorithm)
    keys.push({ domain: 'acme.test', selector: algorithm, algorithm, privateKey })
    records[`${algorithm}._domainkey.acme.test`] = dkimRecordText({ algorithm, publicKey })
  }
  // Others in each run; what one of them showed can be had again by its seed.
  const seed = Math.floor(Math.random() * 2 ** 31)
  process.stdout.write(`the mails of seed ${seed}\n`)
  const samples = fc.sample(oddRawMail, { numRuns: 300, seed }).map(({ bytes }) => bytes)
  raw = await Promise.all(samples.map((mail) => sign(mail)))
  composed = await Promise.all(fc.sample(oddComposition, { numRuns: 200, seed }).map((mail) => sign(mail)))
})

/** The mails for which a verifier says otherwise, so that a failure shows them. */
const others = (mails: readonly Buffer[], verdicts: readonly string[][], expected: string[]) =>
  mails.flatMap((mail, i) =>
    JSON.stringify(verdicts[i]) === JSON.stringify(expected)
      ? []
      : [{ verdict: verdicts[i], mail: mail.toString('latin1') }],
  )

describe.each(dkimVerifiers())('$verifier', ({ isAbsent, verify }) => {
  test.skipIf(isAbsent)('takes both signatures of 300 raw and 200 composed mails', async () => {
    for (const mails of [raw, composed])
      expect(others(mails, await verify(mails, records), bothPass)).toEqual([])
  })

  test.skipIf(isAbsent)('takes neither where one octet of the body is another', async () => {
    const altered = raw.flatMap((mail, i) => {
      const body = mail.indexOf('\r\n\r\n') + 4
      const places = [...mail.keys()].filter((at) => at >= body && mail[at]! > 0x20)
      const place = places[i % Math.max(places.length, 1)]
      if (place === undefined) return []
      const copy = Buffer.from(mail)
      copy[place] = mail[place] === 0x7a ? 0x79 : 0x7a
      return [copy]
    })
    expect(altered.length).toBeGreaterThan(100)
    expect((await verify(altered, records)).flat().filter((verdict) => verdict.endsWith(': pass'))).toEqual(
      [],
    )
  })

  test.skipIf(isAbsent)('takes neither where a closed field was added', async () => {
    const names = [
      'From',
      'To',
      'Cc',
      'Subject',
      'Reply-To',
      'List-Unsubscribe',
      'List-Unsubscribe-Post',
      'Feedback-ID',
    ]
    const added = raw.map((mail, i) =>
      Buffer.concat([Buffer.from(`${names[i % names.length]}: x@evil.test\r\n`), mail]),
    )
    expect((await verify(added, records)).flat().filter((verdict) => verdict.endsWith(': pass'))).toEqual([])
  })
})

describe.skipIf(needsProgram('opendkim'))('OpenDKIM', () => {
  test.each(['rsa', 'ed25519'] as const)(
    'takes an %s signature of 30 mails, and none of an altered one',
    async (algorithm) => {
      const by = keys.filter((key) => key.algorithm === algorithm)
      const mails = await Promise.all(
        [...raw.slice(0, 20), ...composed.slice(0, 10)].map((mail) => sign(withoutSignatures(mail), by)),
      )
      for (const said of await verifyByOpendkim(mails, records)) expect(said).toContain('succeeded')
      const altered = mails
        .slice(0, 5)
        .map((mail) => Buffer.concat([Buffer.from('Subject: another\r\n'), mail]))
      for (const said of await verifyByOpendkim(altered, records)) expect(said).not.toContain('succeeded')
    },
  )
})

test('the same mail is signed to the same octets', async () => {
  const digest = (mail: Buffer) => createHash('sha256').update(mail).digest('hex')
  const again = await Promise.all(raw.map((mail) => sign(withoutSignatures(mail))))
  expect(again.map(digest)).toEqual(raw.map(digest))
})

/** Our two fields are above all others. */
function withoutSignatures(signed: Buffer): Buffer {
  const fields = signed.toString('latin1').split(/(?<=\r\n)(?![ \t])/, 2)
  return signed.subarray(fields.join('').length)
}
