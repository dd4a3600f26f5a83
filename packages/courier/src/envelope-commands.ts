/**
 * One mail's envelope as commands: what may be said to this peer, and what forbids the mail before a word of it is said.
 */
import type { PeerFeatures } from './dialogue.ts'
import { failureVerdict, type Verdict } from './report.ts'
import type { Envelope } from './session.ts'

/** What the envelope has to say of the body. */
export interface BodyFacts {
  sizeBytes: number
  /** Not all of it is ASCII. */
  isEightBit: boolean
}

/** @returns null when the mail may be offered to this peer */
export function findEnvelopeObstacle(
  envelope: Envelope,
  { sizeBytes, isEightBit }: BodyFacts,
  { keywords, maxSizeBytes }: PeerFeatures,
): Verdict | null {
  if (!isPath(envelope.from, true) || !isPath(envelope.to, false)) {
    return failureVerdict('mail', 'compose', 'an address of the envelope cannot be put into a command')
  }
  if (envelope.needsSmtpUtf8 && !keywords.has('SMTPUTF8')) {
    return failureVerdict('mail', 'capability', 'the address needs SMTPUTF8, which the peer does not offer')
  }
  if (isEightBit && !keywords.has('8BITMIME')) {
    const detail =
      'the mail has bytes beyond ASCII, and the peer does not offer 8BITMIME: encode it as quoted-printable or base64'
    return failureVerdict('mail', 'capability', detail)
  }
  if (maxSizeBytes > 0 && sizeBytes > maxSizeBytes) {
    const detail = `the mail has ${sizeBytes} octets, the peer takes at most ${maxSizeBytes}`
    return failureVerdict('mail', 'too_large', detail)
  }
  return null
}

/** MAIL with every parameter that the peer offers and this mail has (RFC 5321 §4.1.1.2). */
export function mailCommand(
  envelope: Envelope,
  body: BodyFacts,
  { keywords }: PeerFeatures,
  isEncrypted: boolean,
): string {
  let line = `MAIL FROM:<${envelope.from}>`
  if (envelope.needsSmtpUtf8) line += ' SMTPUTF8'
  if (body.isEightBit) line += ' BODY=8BITMIME'
  if (keywords.has('SIZE')) line += ` SIZE=${body.sizeBytes}`
  const dsn = dsnOf(envelope, keywords)
  if (dsn !== null) line += ` RET=${dsn.ret}${dsn.envid === undefined ? '' : ` ENVID=${toXtext(dsn.envid)}`}`
  if (mayRequireTls(envelope, keywords, isEncrypted)) line += ' REQUIRETLS'
  return line
}

export function rcptCommand(envelope: Envelope, { keywords }: PeerFeatures): string {
  let line = `RCPT TO:<${envelope.to}>`
  const dsn = dsnOf(envelope, keywords)
  if (dsn?.notify !== undefined) line += ` NOTIFY=${dsn.notify}`
  if (dsn?.orcpt !== undefined) line += ` ORCPT=rfc822;${toXtext(dsn.orcpt)}`
  return line
}

/**
 * What is asked of bounces (RFC 3461): with the header only, and when delivery has failed, not when it is late. Null where the
 * peer does not offer DSN.
 */
export function dsnOf(
  { from, envid, orcpt }: Envelope,
  keywords: ReadonlySet<string>,
): { ret: 'HDRS'; envid?: string; notify?: 'FAILURE'; orcpt?: string } | null {
  if (!keywords.has('DSN')) return null
  return {
    ret: 'HDRS',
    ...(envid === null ? {} : { envid }),
    // There is nobody to notify at the null sender.
    ...(from === '' ? {} : { notify: 'FAILURE' }),
    // Addresses beyond ASCII have a form of their own (RFC 6533 §3), which few understand.
    ...(orcpt === undefined || !/^[!-~]+$/.test(orcpt) ? {} : { orcpt }),
  }
}

/** RFC 8689 §2: the peer offers it, and this hop is encrypted itself. */
export function mayRequireTls(
  envelope: Envelope,
  keywords: ReadonlySet<string>,
  isEncrypted: boolean,
): boolean {
  return envelope.requiresTls === true && isEncrypted && keywords.has('REQUIRETLS')
}

/** RFC 3461 §4. */
function toXtext(text: string): string {
  return text.replace(/[^!-~]|[+=]/g, (character) =>
    [...Buffer.from(character)]
      .map((octet) => `+${octet.toString(16).toUpperCase().padStart(2, '0')}`)
      .join(''),
  )
}

/** Last line of defence behind the address parser: nothing that could end a command's path or begin another command. */
function isPath(address: string, mayBeEmpty: boolean): boolean {
  return address === '' ? mayBeEmpty : /^[^\p{C}\p{Z}<>"]+$/u.test(address)
}
