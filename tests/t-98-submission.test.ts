/**
 * Mail that programs hand in over SMTP: by the rules of POST /send, accepted once and for good where it is answered 250, and by nobody
 * without a key.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import nodemailer from 'nodemailer'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { certificate } from './support/certificate.ts'
import { untilEnded } from './support/message-life.ts'
import { freePort } from './support/ports.ts'
import { type Smtp, startValija, type Valija } from './support/valija.ts'

let folder: string
let valija: Valija
let smtp: Smtp
let submissions: number

beforeAll(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), 'valija-submission-'))
  const { cert, key } = await certificate()
  const [certPath, keyPath] = [path.join(folder, 'cert.pem'), path.join(folder, 'key.pem')]
  await writeFile(certPath, cert)
  await writeFile(keyPath, key)
  valija = await startValija({ queue: 'postgres', delivery: 'capture' })
  submissions = await freePort()
  smtp = await valija.addSmtp({
    VALIJA_TLS_CERT: certPath,
    VALIJA_TLS_KEY: keyPath,
    VALIJA_SUBMISSIONS_PORT: `${submissions}`,
  })
})
afterAll(async () => {
  await valija?.stop()
  if (folder) await rm(folder, { recursive: true, force: true })
})

function nodemailerOf(pass: string, more: object = {}) {
  return nodemailer.createTransport({
    host: '127.0.0.1',
    port: smtp.submission,
    auth: { user: 'anything', pass },
    requireTLS: true,
    tls: { rejectUnauthorized: false },
    ...more,
  })
}

test('a mail of nodemailer is accepted and delivered', async () => {
  const sent = await nodemailerOf(valija.tenantKey).sendMail({
    from: 'Acme <hi@acme.test>',
    to: 'ann@example.org',
    subject: 'Hello',
    text: 'It works.',
    headers: { 'X-Valija-Tag': ['a', 'b'], 'X-Valija-Metadata-Order': '42' },
  })
  expect(sent.response).toMatch(/^250 2\.6\.0 Accepted as msg_[0-9a-f]{32}$/)
  const [id] = /msg_[0-9a-f]{32}/.exec(sent.response)!
  expect(await untilEnded(valija.api, id)).toMatchObject({
    status: 'delivered',
    tags: ['a', 'b'],
    metadata: { order: '42' },
  })
})
