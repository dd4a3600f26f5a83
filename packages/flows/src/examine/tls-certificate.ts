/** Our own certificate, for SMTP submission: readable, whole, of its key, in its time, for our name. */
import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import tls from 'node:tls'
import { type Check, checkOf, durationText, messageOf } from './check.ts'

export interface CertificateFiles {
  /** VALIJA_TLS_CERT and VALIJA_TLS_KEY. */
  certPath: string
  keyPath: string
}

export interface CertificateFacts {
  /** The leaf first, as the file has them. */
  chain: readonly X509Certificate[]
  key: KeyObject
}

interface Surroundings {
  nowMs: number
  /** That clients know, PEM. */
  authorities: readonly string[]
}

const dayMs = 86_400_000
/** Who renews by itself (ACME) does so a month ahead: with less than this it has failed for a while. */
const soonMs = 14 * dayMs

/** @param names by which clients reach us: one of them is enough */
export async function examineCertificate(
  files: CertificateFiles | null,
  names: readonly string[],
  { nowMs = Date.now(), authorities = tls.getCACertificates('default') }: Partial<Surroundings> = {},
): Promise<Check[]> {
  const check = checkOf('tls_certificate', files?.certPath ?? null)
  if (files === null)
    return [
      check.skipped(
        'VALIJA_TLS_CERT is not set: outside `npm start` nobody can log in to hand mail in over SMTP',
      ),
    ]
  try {
    return [judgeCertificate(files, await readCertificate(files), { names, nowMs, authorities })]
  } catch (error) {
    const fix =
      'VALIJA_TLS_CERT names a PEM file with the certificate chain, VALIJA_TLS_KEY one with its private key (unencrypted); both readable by the user of the process.'
    return [check.failed(`cannot be used: ${messageOf(error)}`, fix)]
  }
}

async function readCertificate({ certPath, keyPath }: CertificateFiles): Promise<CertificateFacts> {
  const [certText, keyText] = await Promise.all([readFile(certPath, 'utf8'), readFile(keyPath, 'utf8')])
  const blocks = certText.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? []
  if (blocks.length === 0) throw new Error(`${certPath} holds no certificate in PEM form`)
  return { chain: blocks.map((block) => new X509Certificate(block)), key: createPrivateKey(keyText) }
}

export function judgeCertificate(
  files: CertificateFiles,
  { chain, key }: CertificateFacts,
  { names, nowMs, authorities }: Surroundings & { names: readonly string[] },
): Check {
  const check = checkOf('tls_certificate', files.certPath)
  const [leaf] = chain
  if (leaf === undefined) return check.failed('holds no certificate', 'Put the certificate chain there.')
  if (!leaf.checkPrivateKey(key)) {
    return check.failed(
      `${files.keyPath} is the key of another certificate`,
      'Let both files come from the same issuance; of a chain the own certificate stands first.',
    )
  }
  const [fromMs, toMs] = [leaf.validFromDate.getTime(), leaf.validToDate.getTime()]
  if (nowMs > toMs) {
    return check.failed(
      `expired ${durationText(nowMs - toMs)} ago`,
      'Renew it, and see why the renewal (certbot, acme.sh) did not.',
    )
  }
  if (nowMs < fromMs) {
    return check.failed(
      `is valid only in ${durationText(fromMs - nowMs)}`,
      "Set this machine's clock, or wait with this certificate.",
    )
  }
  return judgeUse(check, chain, { names, authorities, leftMs: toMs - nowMs })
}

/** What clients will say of it, though it can be used. */
function judgeUse(
  check: ReturnType<typeof checkOf>,
  chain: readonly X509Certificate[],
  use: { names: readonly string[]; authorities: readonly string[]; leftMs: number },
): Check {
  const [leaf] = chain as [X509Certificate]
  const { names, authorities, leftMs } = use
  if (leftMs < soonMs) {
    return check.warning(
      `expires in ${durationText(leftMs)}`,
      'Renew it, and see why the renewal (certbot, acme.sh) has not.',
    )
  }
  if (!names.some((name) => leaf.checkHost(name) !== undefined)) {
    return check.warning(
      `is for ${leaf.subjectAltName?.replaceAll('DNS:', '') ?? 'no name'}, not for ${names.join(' or ')}`,
      'If clients reach us by another name that it has, all is well; else get one for the name that they use.',
    )
  }
  if (leaf.issuer === leaf.subject) {
    return check.warning(
      'is self-signed: clients that verify will refuse it',
      'Get one from a public authority.',
    )
  }
  if (!reachesAnAuthority(chain, authorities)) {
    return check.warning(
      'lacks the intermediate certificates: clients cannot follow it to an authority that they know',
      'Put the whole chain into the file (certbot: fullchain.pem).',
    )
  }
  return check.ok(
    `is valid for ${durationText(leftMs)} more, and for ${names.find((name) => leaf.checkHost(name))}`,
  )
}

/** Each is issued by the next, and the last by an authority that is known here. */
function reachesAnAuthority(chain: readonly X509Certificate[], authorities: readonly string[]): boolean {
  const isJoined = chain.every((one, at) => chain[at + 1] === undefined || one.checkIssued(chain[at + 1]!))
  const last = chain.at(-1)
  if (!isJoined || last === undefined) return false
  return authorities.some((pem) => {
    const authority = new X509Certificate(pem)
    return authority.fingerprint256 === last.fingerprint256 || last.checkIssued(authority)
  })
}
