/** The certificate of our listeners: what the operator has set, checked at the start. */
import { readFile } from 'node:fs/promises'
import { createSecureContext } from 'node:tls'
import { StartError } from '@valija/flows'

/** PEM. */
export interface Certificate {
  cert: string
  key: string
}

/**
 * @returns null when none is set
 * @throws {StartError} for files that cannot be read, are no certificate and key, or do not belong together
 */
export async function readCertificate({
  tlsCert,
  tlsKey,
}: {
  tlsCert: string | null
  tlsKey: string | null
}): Promise<Certificate | null> {
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
