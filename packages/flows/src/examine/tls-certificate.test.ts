import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Issued, issueAuthority, issueServer } from '../../../../tests/support/issue-certificate.ts'
import { examineCertificate } from './tls-certificate.ts'

const day = 86_400_000
const now = Date.now()
const at = (days: number) => new Date(now + days * day)

let folder: string
let authority: Issued
beforeAll(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), 'valija-tls-'))
  authority = await issueAuthority('An authority', { notBefore: at(-1_000), notAfter: at(1_000) })
})
afterAll(() => rm(folder, { recursive: true, force: true }))

async function look(certText: string, keyText: string, names = ['mail.acme.test'], known: Issued[] = []) {
  const files = { certPath: path.join(folder, 'cert.pem'), keyPath: path.join(folder, 'key.pem') }
  await writeFile(files.certPath, certText)
  await writeFile(files.keyPath, keyText)
  const [check] = await examineCertificate(files, names, {
    nowMs: now,
    authorities: known.map(({ cert }) => cert),
  })
  return check
}

const issue = (from: number, to: number, issuer: Issued | null = authority) =>
  issueServer(['mail.acme.test'], { ...(issuer && { issuer }), notBefore: at(from), notAfter: at(to) })

describe('our certificate', () => {
  test('of a known authority, in its time, for our name is well', async () => {
    const { cert, key } = await issue(-1, 90)
    expect(await look(cert, key, ['mail.acme.test'], [authority])).toMatchObject({
      status: 'ok',
      detail: 'is valid for 90 d more, and for mail.acme.test',
    })
  })

  test('with its intermediate certificate is well, without it is not', async () => {
    const between = await issueAuthority('In between', { issuer: authority, notAfter: at(200) })
    const { cert, key } = await issue(-1, 90, between)
    const alone = await look(cert, key, ['mail.acme.test'], [authority])
    expect(alone).toMatchObject({ status: 'warning', fix: expect.stringContaining('fullchain.pem') })
    const whole = await look(`${cert}\n${between.cert}`, key, ['mail.acme.test'], [authority])
    expect(whole).toMatchObject({ status: 'ok' })
    const another = await issueAuthority('Another one in between', { issuer: authority, notAfter: at(200) })
    const mixed = await look(`${cert}\n${another.cert}`, key, ['mail.acme.test'], [authority])
    expect(mixed).toMatchObject({ status: 'warning', fix: expect.stringContaining('fullchain.pem') })
  })

  test.each([
    ['expired', -100, -3, 'failed', /expired 3 d ago/, /Renew/],
    ['soon to expire', -80, 7, 'warning', /expires in 7 d/, /Renew/],
    ['not valid yet', 3, 100, 'failed', /valid only in 3 d/, /clock/],
  ] as const)('%s', async (_, from, to, status, detail, fix) => {
    const { cert, key } = await issue(from, to)
    expect(await look(cert, key)).toMatchObject({
      status,
      detail: expect.stringMatching(detail),
      fix: expect.stringMatching(fix),
    })
  })

  test('of an authority that nobody knows is told as incomplete', async () => {
    const { cert, key } = await issue(-1, 90)
    expect(await look(cert, key)).toMatchObject({
      status: 'warning',
      fix: expect.stringContaining('fullchain.pem'),
    })
  })

  test('that signed itself is told', async () => {
    const { cert, key } = await issue(-1, 90, null)
    expect(await look(cert, key)).toMatchObject({
      status: 'warning',
      detail: expect.stringContaining('self-signed'),
    })
  })

  test('for another name is told; one of our names is enough', async () => {
    const { cert, key } = await issue(-1, 90)
    const check = await look(cert, key, ['smtp.acme.test', 'api.acme.test'])
    expect(check?.detail).toBe('is for mail.acme.test, not for smtp.acme.test or api.acme.test')
    expect((await look(cert, key, ['smtp.acme.test', 'mail.acme.test']))?.detail).not.toContain('is for')
  })

  test('with the key of another one is told', async () => {
    const [{ cert }, { key }] = [await issue(-1, 90), await issue(-1, 90)]
    expect(await look(cert, key)).toMatchObject({
      status: 'failed',
      detail: expect.stringContaining('another certificate'),
    })
  })

  test.each([
    ['no PEM', 'x', null, /no certificate in PEM form/],
    ['a key that is none', null, 'x', /cannot be used/],
  ])('%s', async (_, cert, key, detail) => {
    const good = await issue(-1, 90)
    const check = await look(cert ?? good.cert, key ?? good.key)
    expect(check).toMatchObject({ status: 'failed', detail: expect.stringMatching(detail) })
  })

  test('that is not there is told, and none is no fault', async () => {
    const away = { certPath: '/nowhere/cert.pem', keyPath: '/nowhere/key.pem' }
    expect(await examineCertificate(away, [])).toMatchObject([
      { status: 'failed', detail: expect.stringContaining('ENOENT') },
    ])
    expect(await examineCertificate(null, [])).toMatchObject([{ status: 'skipped' }])
  })
})
