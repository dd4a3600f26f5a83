/**
 * Keys for DKIM and the DNS records that publish them (RFC 6376 §3.6.1, RFC 8463 §4): made, told as text, and compared
 * with what somebody has published.
 */
import { createPrivateKey, createPublicKey, generateKeyPair, type KeyObject } from 'node:crypto'
import { promisify } from 'node:util'
import type { Parsed } from './address.ts'
import type { DkimAlgorithm } from './dkim.ts'
import { findTextFault, type RecordFault, recordFault } from './record-fault.ts'
import { readTags } from './tag-list.ts'

export interface DkimKeyPair {
  privateKey: KeyObject
  /** The record's p=: base64 of the SubjectPublicKeyInfo (RSA), or of the 32 octets of the key itself (Ed25519). */
  publicKey: string
}

const generate = promisify(generateKeyPair)

/** RFC 8301 §3.2: at least 1024 bits, 2048 recommended; more does not fit one DNS string, nor every verifier. */
const rsaBits = 2048
/** The key itself stands at the end of an Ed25519 SubjectPublicKeyInfo (RFC 8410 §4). */
const ed25519Octets = 32

/** Makes a key pair on libuv's threads (RSA: some 30 to 100 ms). */
export async function generateDkimKey(algorithm: DkimAlgorithm): Promise<DkimKeyPair> {
  const { privateKey, publicKey } =
    algorithm === 'rsa' ? await generate('rsa', { modulusLength: rsaBits }) : await generate('ed25519', {})
  return { privateKey, publicKey: recordKey(algorithm, publicKey) }
}

function recordKey(algorithm: DkimAlgorithm, publicKey: KeyObject): string {
  const spki = publicKey.export({ type: 'spki', format: 'der' })
  return (algorithm === 'rsa' ? spki : spki.subarray(-ed25519Octets)).toString('base64')
}

/** RFC 8301 §3.2: verifiers must take 1024 to 4096 bits. */
const [minRsaBits, maxRsaBits] = [1024, 4096]

/**
 * Reads a key that somebody made elsewhere.
 *
 * @param pem a private key in PEM: PKCS #8, or RSA's own form (PKCS #1)
 */
export function importDkimKey(pem: string): Parsed<DkimKeyPair & { algorithm: DkimAlgorithm }> {
  const refuse = (message: string) => ({ ok: false as const, message })
  if (/ENCRYPTED/.test(pem))
    return refuse('is encrypted. Give it without a passphrase (openssl pkey -in … ).')
  let privateKey: KeyObject
  try {
    privateKey = createPrivateKey({ key: pem, format: 'pem' })
  } catch {
    return refuse('is no private key in PEM: it begins with -----BEGIN PRIVATE KEY-----')
  }
  const algorithm = privateKey.asymmetricKeyType
  if (algorithm !== 'rsa' && algorithm !== 'ed25519') {
    return refuse(`is a key of ${algorithm}; DKIM knows rsa and ed25519`)
  }
  const bits = privateKey.asymmetricKeyDetails?.modulusLength ?? minRsaBits
  if (algorithm === 'rsa' && (bits < minRsaBits || bits > maxRsaBits)) {
    return refuse(`has ${bits} bits; verifiers take ${minRsaBits} to ${maxRsaBits}, and 2048 are best`)
  }
  return {
    ok: true,
    value: { algorithm, privateKey, publicKey: recordKey(algorithm, createPublicKey(privateKey)) },
  }
}

/** What a selector's record says of its key. */
export interface DkimRecord {
  algorithm: DkimAlgorithm
  publicKey: string
}

/** The text to publish at `<selector>._domainkey.<domain>`. */
export function dkimRecordText({ algorithm, publicKey }: DkimRecord): string {
  return `v=DKIM1; k=${algorithm}; p=${publicKey}`
}

/**
 * Whether verifiers will find our key in what is published at the selector.
 *
 * @param found the TXT records there, the strings of each joined
 * @returns null when they will
 */
export function findDkimRecordFault(found: readonly string[], wanted: DkimRecord): RecordFault | null {
  const [text] = found
  if (text === undefined) return recordFault('missing', 'There is no TXT record.')
  if (found.length > 1) return describeSeveral(found, wanted)
  const fault = findTextFault(text)
  if (fault !== null) return fault
  const tags = readTags(text)
  return tags === null
    ? recordFault('malformed', 'The text is not of the form "name=value; name=value".')
    : findTagFault(tags, wanted)
}

/** RFC 6376 §3.6.2.2: which of several a verifier takes is undefined. */
function describeSeveral(found: readonly string[], wanted: DkimRecord): RecordFault {
  const whole = dkimRecordText(wanted)
  if (found.every((part) => part.length > 0 && whole.includes(part))) {
    const text = `The value was published as ${found.length} records. Publish it as one record of several strings, each of at most 255 characters.`
    return recordFault('split_over_records', text)
  }
  const text = `There are ${found.length} TXT records at this name. Leave only the one shown.`
  return recordFault('several_records', text)
}

function findTagFault(tags: ReadonlyMap<string, string>, wanted: DkimRecord): RecordFault | null {
  const version = tags.get('v') ?? 'DKIM1'
  if (version !== 'DKIM1')
    return recordFault('malformed', `It says v=${version}; verifiers take only v=DKIM1.`)
  const algorithm = tags.get('k') ?? 'rsa'
  if (algorithm !== wanted.algorithm) {
    return recordFault('wrong_key_type', `It says k=${algorithm}; the key is of k=${wanted.algorithm}.`)
  }
  const publicKey = (tags.get('p') ?? '').replace(/\s+/g, '')
  if (publicKey === '') return recordFault('revoked', 'Its p= is empty, which means that the key is revoked.')
  if (publicKey !== wanted.publicKey) return describeOtherKey(publicKey, wanted.publicKey)
  const hashes = splitList(tags.get('h'))
  if (hashes.length > 0 && !hashes.includes('sha256')) {
    return recordFault('restricted', 'Its h= does not allow sha256. Leave h= out.')
  }
  const services = splitList(tags.get('s'))
  if (services.length > 0 && !services.includes('email') && !services.includes('*')) {
    return recordFault('restricted', 'Its s= does not allow email. Leave s= out.')
  }
  return null
}

function describeOtherKey(publicKey: string, wanted: string): RecordFault {
  if (wanted.startsWith(publicKey)) {
    const text = `The key is cut off after ${publicKey.length} of ${wanted.length} characters. Publish it as several strings of one record, each of at most 255 characters.`
    return recordFault('cut_off', text)
  }
  return publicKey.startsWith(wanted)
    ? recordFault('overlong', 'Something stands behind the key. Remove it.')
    : recordFault('wrong_key', 'It holds another key.')
}

function splitList(value: string | undefined): string[] {
  return (value ?? '')
    .split(':')
    .map((entry) => entry.trim())
    .filter((entry) => entry !== '')
}
