/**
 * The certificate of `npm start`, where none is configured: signed by itself, made once and kept in the data folder. It keeps
 * listeners from reading along, and proves nothing; servers that hand in bounces do not ask for more (RFC 3207 section 4.1).
 */
import { X509Certificate } from 'node:crypto'
import { readFile, rename, writeFile } from 'node:fs/promises'
import path from 'node:path'

/** PEM. */
export interface OwnCertificate {
  cert: string
  key: string
}

const yearMs = 365 * 86_400_000
/** Made anew when less is left of it. */
const leastLeftMs = 30 * 86_400_000

/** @param name that it is for, beside those of loopback */
export async function loadOrCreateCertificate(folder: string, name: string): Promise<OwnCertificate> {
  const file = path.join(folder, 'certificate.json')
  const kept = await read(file)
  if (kept !== null) return kept
  // Loaded only here: once in the life of a folder.
  const { generate } = await import('selfsigned')
  const nowMs = Date.now()
  const made = await generate([{ name: 'commonName', value: name }], {
    algorithm: 'sha256',
    keyType: 'ec',
    notBeforeDate: new Date(nowMs - 86_400_000),
    notAfterDate: new Date(nowMs + 10 * yearMs),
    extensions: [
      {
        name: 'subjectAltName',
        altNames: [
          { type: 2, value: name },
          { type: 2, value: 'localhost' },
          { type: 7, ip: '127.0.0.1' },
          { type: 7, ip: '::1' },
        ],
      },
    ],
  })
  const certificate = { cert: made.cert, key: made.private }
  const draft = `${file}.${process.pid}`
  await writeFile(draft, `${JSON.stringify(certificate, null, 2)}\n`, { mode: 0o600 })
  await rename(draft, file)
  return certificate
}

/** @returns null when there is none that can be used for long enough */
async function read(file: string): Promise<OwnCertificate | null> {
  try {
    const { cert, key } = JSON.parse(await readFile(file, 'utf8')) as Partial<OwnCertificate>
    if (typeof cert !== 'string' || typeof key !== 'string') return null
    const endsMs = Date.parse(new X509Certificate(cert).validTo)
    return endsMs - Date.now() > leastLeftMs ? { cert, key } : null
  } catch {
    return null
  }
}
