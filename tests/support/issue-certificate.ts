/** Chains of certificates for tests: made on the spot, with what a test wants to be wrong with them. */
import { X509Certificate } from 'node:crypto'
import { type CertificateExtension, generate } from 'selfsigned'

export interface Issued {
  /** PEM. */
  key: string
  cert: string
  certificate: X509Certificate
}

interface Wanted {
  issuer?: Issued
  notBefore?: Date
  notAfter?: Date
  /** With it, no extension is made by itself. */
  extensions?: CertificateExtension[]
  algorithm?: 'sha1' | 'sha256'
}

export function issueAuthority(name: string, wanted: Wanted & { pathLength?: number } = {}): Promise<Issued> {
  const constraints: CertificateExtension = {
    name: 'basicConstraints',
    cA: true,
    critical: true,
    ...(wanted.pathLength !== undefined && { pathLenConstraint: wanted.pathLength }),
  }
  return issue(name, { extensions: [constraints, { name: 'keyUsage', keyCertSign: true }], ...wanted })
}

/** Of a server with these DNS names. */
export function issueServer(names: string[], wanted: Wanted = {}): Promise<Issued> {
  const altNames = names.map((value) => ({ type: 2 as const, value }))
  return issue(names[0] ?? 'nobody', {
    extensions: [
      { name: 'basicConstraints', cA: false, critical: true },
      { name: 'extKeyUsage', serverAuth: true },
      { name: 'subjectAltName', altNames },
    ],
    ...wanted,
  })
}

async function issue(commonName: string, wanted: Wanted): Promise<Issued> {
  const { issuer, notBefore, notAfter, extensions, algorithm = 'sha256' } = wanted
  const made = await generate([{ name: 'commonName', value: commonName }], {
    keyType: 'ec',
    algorithm,
    ...(issuer && { ca: issuer }),
    ...(notBefore && { notBeforeDate: notBefore }),
    ...(notAfter && { notAfterDate: notAfter }),
    ...(extensions && { extensions }),
  })
  return { key: made.private, cert: made.cert, certificate: new X509Certificate(made.cert) }
}
