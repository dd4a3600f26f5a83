import { createPublicKey, sign, verify } from 'node:crypto'
import { expect, it } from 'vitest'
import { type DkimRecord, dkimRecordText, findDkimRecordFault, generateDkimKey } from './dkim-record.ts'

const rsa: DkimRecord = { algorithm: 'rsa', publicKey: `MIIB${'x'.repeat(388)}` }
const ed25519: DkimRecord = {
  algorithm: 'ed25519',
  publicKey: '11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=',
}
const text = dkimRecordText(rsa)

it('a key pair is RSA-2048 in a SubjectPublicKeyInfo, or the 32 octets of an Ed25519 key', async () => {
  const made = await generateDkimKey('rsa')
  const spki = createPublicKey({ key: Buffer.from(made.publicKey, 'base64'), format: 'der', type: 'spki' })
  expect(spki.asymmetricKeyDetails?.modulusLength).toBe(2048)
  const small = await generateDkimKey('ed25519')
  expect(Buffer.from(small.publicKey, 'base64')).toHaveLength(32)
  // RFC 8410 §4: what stands before the key.
  const prefix = Buffer.from('302a300506032b6570032100', 'hex')
  const key = createPublicKey({
    key: Buffer.concat([prefix, Buffer.from(small.publicKey, 'base64')]),
    format: 'der',
    type: 'spki',
  })
  expect(verify(null, Buffer.from('x'), key, sign(null, Buffer.from('x'), small.privateKey))).toBe(true)
})

it('the record is this text', () => {
  expect(text).toBe(`v=DKIM1; k=rsa; p=${rsa.publicKey}`)
  expect(dkimRecordText(ed25519)).toBe(`v=DKIM1; k=ed25519; p=${ed25519.publicKey}`)
})

it.each([
  ['as shown', text, rsa],
  ['of the other algorithm', dkimRecordText(ed25519), ed25519],
  ['without v= and k=, which have defaults', `p=${rsa.publicKey}`, rsa],
  [
    'with other white space and a last semicolon',
    ` v = DKIM1;k=rsa ; p=${rsa.publicKey.replace(/x{9}/, '$& \t')};`,
    rsa,
  ],
  ['with further tags that allow it', `${text}; h=sha1:sha256; s=email; t=s; n=note`, rsa],
])('right: %s', (_, found, wanted) => {
  expect(findDkimRecordFault([found], wanted)).toBeNull()
})

it.each([
  ['another key', [`v=DKIM1; k=rsa; p=MIIC${'y'.repeat(388)}`], 'another key'],
  ['a key that is cut off', [text.slice(0, 255)], 'cut off after 237 of 392'],
  ['a key with something behind it', [`${text}"`], 'quotation marks'],
  ['a doubled key', [`${text}AAAA`], 'stands behind'],
  ['backslashes before semicolons', [text.replaceAll(';', '\\;')], 'backslashes'],
  ['the other algorithm', [text.replace('rsa', 'ed25519')], 'k=ed25519'],
  ['another version', [text.replace('DKIM1', 'DKIM2')], 'v=DKIM2'],
  ['a revoked key', ['v=DKIM1; p='], 'revoked'],
  ['no key at all', ['v=DKIM1; k=rsa'], 'revoked'],
  ['another hash only', [`${text}; h=sha1`], 'h='],
  ['another service only', [`${text}; s=tlsrpt`], 's='],
  ['two keys', [text, `v=DKIM1; p=${rsa.publicKey}x`], '2 TXT records'],
  ['a tag twice', [`${text}; p=x`], 'form'],
  ['something else', ['hello'], 'form'],
  ['another record beside it', ['v=spf1 -all', text], '2 TXT records'],
  ['nothing', [], 'no TXT record'],
])('wrong, and why: %s', (_, found, why) => {
  expect(findDkimRecordFault(found, rsa)?.text).toContain(why)
})
