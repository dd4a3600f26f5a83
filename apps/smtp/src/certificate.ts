/** The certificate of our listeners: what the operator has set, checked at the start, and taken anew when its files change. */
import { readFile, stat } from 'node:fs/promises'
import { createSecureContext } from 'node:tls'
import { StartError } from '@valija/flows'

/** PEM. */
export interface Certificate {
  cert: string
  key: string
}

/** VALIJA_TLS_CERT and VALIJA_TLS_KEY. */
export interface CertificateFiles {
  tlsCert: string | null
  tlsKey: string | null
}

/**
 * @returns null when none is set
 * @throws {StartError} for files that cannot be read, are no certificate and key, or do not belong together
 */
export async function readCertificate({ tlsCert, tlsKey }: CertificateFiles): Promise<Certificate | null> {
  if (tlsCert === null || tlsKey === null) return null
  const [cert, key] = await Promise.all([read('VALIJA_TLS_CERT', tlsCert), read('VALIJA_TLS_KEY', tlsKey)])
  try {
    createSecureContext({ cert, key })
  } catch (cause) {
    throw new StartError(
      `VALIJA_TLS_CERT and VALIJA_TLS_KEY cannot be used together: ${(cause as Error).message}.`,
      { cause },
    )
  }
  return { cert, key }
}

async function read(name: string, path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8')
  } catch (cause) {
    throw new StartError(`${name} cannot be read: ${(cause as Error).message}.`, { cause })
  }
}

export interface CertificateWatch {
  /** In use now. */
  present: Certificate | null
  onChanged: (certificate: Certificate) => void
  /** Told once per change of the files that cannot be used; the certificate stays as it was. */
  onFault: (error: Error) => void
  everyMs?: number
}

/** A renewal is taken within this time, without a restart. Asked for, because links and mounts that are exchanged tell nobody. */
const lookEveryMs = 5_000

/** @returns stops watching */
export function watchCertificate(
  files: CertificateFiles,
  { present, onChanged, onFault, everyMs = lookEveryMs }: CertificateWatch,
): () => void {
  let used = present
  let seen = ''
  let read = ''
  let isLooking = false
  const look = async () => {
    const now = await marksOf(files)
    // Two files are not exchanged at the same moment: what looks the same twice is whole.
    const isSettled = now === seen
    seen = now
    if (now === read || !isSettled) return
    read = now
    const certificate = await readCertificate(files).catch((error: Error) => onFault(error))
    if (!certificate || certificate.cert === used?.cert) return
    used = certificate
    onChanged(certificate)
  }
  if (files.tlsCert === null) return () => undefined
  const timer = setInterval(() => {
    if (isLooking) return
    isLooking = true
    void look().finally(() => {
      isLooking = false
    })
  }, everyMs).unref()
  return () => clearInterval(timer)
}

async function marksOf({ tlsCert, tlsKey }: CertificateFiles): Promise<string> {
  const marks = [tlsCert, tlsKey].map(async (path) => {
    const found = path === null ? null : await stat(path).catch(() => null)
    return found && `${found.ino} ${found.size} ${found.mtimeMs}`
  })
  return (await Promise.all(marks)).join('; ')
}
