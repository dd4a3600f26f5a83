/** An installation with listeners for submission: one that all tests share, and one without a certificate. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import nodemailer from 'nodemailer'
import { certificate } from './certificate.ts'
import { freePort } from './ports.ts'
import { until } from './until.ts'
import { expectStatus, type Smtp, startValija, type TestTenant, type Valija } from './valija.ts'

/** Of one mail, in octets. */
export const MAX_SIZE = 512 * 1024

type TlsFiles = { VALIJA_TLS_CERT: string; VALIJA_TLS_KEY: string }

export type SubmissionWorld = {
  valija: Valija
  /** With STARTTLS. */
  smtp: Smtp
  /** Its port with TLS from the first byte. */
  submissions: number
  /** Has no certificate. */
  bare: Smtp
  /** Another tenant, with the domain other.test. */
  other: TestTenant
  /** For listeners that tests start. */
  tls: TlsFiles
  /** Of the shared one. */
  renewed: TlsFiles
  writeCertificate: (name: string, issued: { cert: string; key: string }) => Promise<TlsFiles>
  makeKey: (fields?: object) => Promise<{ id: string; key: string }>
  /** nodemailer, with the first tenant's key. */
  mailer: ReturnType<typeof mailerOf>
  /** The one mail that was caught for an address, as it came. */
  rawInInbox: (to: string) => Promise<string>
  countMessages: (subject: string) => Promise<number>
  stop: () => Promise<void>
}

export async function startSubmissionWorld(): Promise<SubmissionWorld> {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'valija-submission-'))
  const writeCertificate: SubmissionWorld['writeCertificate'] = async (name, { cert, key }) => {
    const at = (part: string) => path.join(folder, `${name}.${part}.pem`)
    await writeFile(at('cert'), cert)
    await writeFile(at('key'), key)
    return { VALIJA_TLS_CERT: at('cert'), VALIJA_TLS_KEY: at('key') }
  }
  const tls = await writeCertificate('usual', await certificate())
  const renewed = await writeCertificate('renewed', await certificate())
  const valija = await startValija({ queue: 'postgres', delivery: 'capture' })
  const submissions = await freePort()
  const env = {
    ...renewed,
    VALIJA_SUBMISSIONS_PORT: `${submissions}`,
    VALIJA_MAX_MESSAGE_SIZE: `${MAX_SIZE}`,
  }
  const starting = [valija.addSmtp(env), valija.addSmtp()] as const
  const [smtp, bare] = await Promise.all(starting)
  return {
    ...{ valija, smtp, submissions, bare, tls, renewed, writeCertificate },
    other: await valija.addTenant('other', 'other.test'),
    makeKey: async (fields = {}) => {
      const body = { name: 'k', scopes: ['send'], ...fields }
      return expectStatus(await valija.api<{ id: string; key: string }>('POST', '/keys', body), 201).json
    },
    mailer: mailerOf(smtp.submission, valija.tenantKey),
    rawInInbox: async (to) => {
      const path = `/inbox?to=${encodeURIComponent(to)}&wait=5s`
      const data = await until(`a mail for ${to}`, async () => {
        const { json } = await valija.api<{ data: { id: string }[] }>('GET', path)
        return json.data.length > 0 && json.data
      })
      if (data.length !== 1) throw new Error(`${data.length} mails for ${to}`)
      return (await valija.api('GET', `/inbox/${data[0]!.id}/raw`)).text
    },
    countMessages: async (subject) =>
      (await valija.sql('SELECT 1 FROM valija.messages WHERE subject = $1', [subject])).length,
    stop: async () => {
      await valija.stop()
      await rm(folder, { recursive: true, force: true })
    },
  }
}

const mailerOf = (port: number, pass: string) =>
  nodemailer.createTransport({
    host: '127.0.0.1',
    port,
    auth: { user: 'anything', pass },
    requireTLS: true,
    tls: { rejectUnauthorized: false },
  })
