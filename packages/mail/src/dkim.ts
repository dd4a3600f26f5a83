/**
 * DKIM signatures (RFC 6376): relaxed/relaxed, rsa-sha256 and ed25519-sha256 (RFC 8463), any number of them on one mail.
 *
 * A signature covers the whole body (no l=) and the header fields that a reader sees or acts upon. Those that anybody could
 * add to change what is seen are named once more in h= than they occur (RFC 6376 §8.15), so that the addition breaks the
 * signature. The same mail with the same keys and time gets the same octets: both algorithms are deterministic.
 *
 * Cost, measured on a 10 KB mail: 0.33 ms of CPU with both signatures, 0.30 with RSA-2048 alone, 0.09 with Ed25519 alone. On the
 * event loop thereof 0.05 for reading and hashing and some 0.05 for each signature; the signatures themselves are made on libuv's
 * threads. Bodies are read at 430 MB/s, once for all signatures.
 */
import { Buffer } from 'node:buffer'
import { createHash, type KeyObject, sign } from 'node:crypto'
import { setImmediate } from 'node:timers/promises'
import { promisify } from 'node:util'

export const dkimAlgorithms = ['rsa', 'ed25519'] as const
export type DkimAlgorithm = (typeof dkimAlgorithms)[number]

/** One signature: whose, and by which key. */
export interface DkimKey {
  /** d=: lower-case A-labels, also on a mail with UTF-8 in its header (RFC 8616 §5). */
  domain: string
  /** s=: the key's record is at `<selector>._domainkey.<domain>`. */
  selector: string
  algorithm: DkimAlgorithm
  privateKey: KeyObject
}

export interface DkimOptions {
  /** t=. In the past at the signing: verifiers refuse signatures of the future. */
  signedAt: Date
  /** Fields to leave out of the signature, in lower case: a relay that is known to rewrite them would break it. */
  leaveOut?: readonly string[]
}

/** DESIGN 4.21: listed once more than they occur, also where they do not occur. */
const closedFields = [
  ...['From', 'To', 'Cc', 'Subject', 'Reply-To'],
  ...['List-Unsubscribe', 'List-Unsubscribe-Post', 'Feedback-ID'],
]
/**
 * Where they occur, once more too: a second one on top could show the same body as something else. Where they do not, a relay may
 * put them in (RFC 6409 §8), and that must not break anything.
 */
const singleFields = [
  ...['Date', 'Message-ID', 'Sender', 'In-Reply-To', 'References', 'MIME-Version'],
  ...['Content-Type', 'Content-Transfer-Encoding', 'Content-Disposition', 'Content-ID'],
  // RFC 9477 section 3.1.4: believed only where it is signed.
  'CFBL-Address',
]
/** As often as they occur: later hops may add to them. */
const otherSignedFields = /^(?:list-.+|resent-.+|auto-submitted|content-.+)$/

/** A line of our own is folded after this many octets (RFC 5322 §2.1.1). */
const lineLength = 76
/** A body is read in slices of so many octets, and after some of them, about 2 ms, it is others' turn. */
const sliceLength = 65_536
const turnLength = 16 * sliceLength
const [TAB, LF, CR, SPACE] = [0x09, 0x0a, 0x0d, 0x20]

const signAsync = promisify(sign)

/**
 * Signs a mail with every given key.
 *
 * @param mail RFC 5322 text whose line ends are CRLF and nothing else
 * @returns the DKIM-Signature fields, one below the other, to be put in front of the mail
 * @throws {Error} for a key that is not of its algorithm
 */
export async function signMail(
  mail: Buffer,
  keys: readonly DkimKey[],
  options: DkimOptions,
): Promise<Buffer> {
  const blank = mail.indexOf('\r\n\r\n')
  const headerEnd = blank < 0 ? mail.length : blank + 2
  const header = readHeader(mail.toString('latin1', 0, headerEnd))
  const bodyHash = (await hashBody(mail, Math.min(headerEnd + 2, mail.length))).toString('base64')
  const names = namesToSign(header, new Set(options.leaveOut))
  const signedFields = chooseFields(header, names).join('\r\n')
  const fields = await Promise.all(
    keys.map(async (key) => {
      const field = signatureField(key, options.signedAt, bodyHash, names)
      const text = `${signedFields}\r\n${relaxField(field).text}`
      const signature = await signText(Buffer.from(text, 'latin1'), key)
      return `${field}${fold(signature.toString('base64').match(/.{1,72}/g) ?? [], ' b='.length)}\r\n`
    }),
  )
  return Buffer.from(fields.join(''), 'latin1')
}

/** Header fields in relaxed form by lower-case name, in the order in which they occur. */
type Header = Map<string, string[]>

function readHeader(text: string): Header {
  const header: Header = new Map()
  for (const source of text.split(/\r\n(?![ \t])/)) {
    if (source === '') continue
    const { name, text } = relaxField(source)
    const known = header.get(name)
    if (known) known.push(text)
    else header.set(name, [text])
  }
  return header
}

/**
 * RFC 6376 §3.4.2. A character is an octet here (latin1), so UTF-8 passes as it is, and only space and tab are white space.
 *
 * @param source one field without its last CRLF
 */
function relaxField(source: string): { name: string; text: string } {
  const colon = source.indexOf(':')
  const name = source.slice(0, colon).toLowerCase()
  let value = source
    .slice(colon + 1)
    .replaceAll('\r\n', '')
    .replace(/[ \t]+/g, ' ')
  if (value.startsWith(' ')) value = value.slice(1)
  if (value.endsWith(' ')) value = value.slice(0, -1)
  return { name, text: `${name}:${value}` }
}

/** The names of h=, repeated as often as they count. */
function namesToSign(header: Header, leaveOut: ReadonlySet<string>): string[] {
  const wanted: string[] = []
  const named = new Set(leaveOut)
  const add = (name: string, times: number) => {
    const key = name.toLowerCase()
    if (!named.has(key)) wanted.push(...new Array<string>(times).fill(name))
    named.add(key)
  }
  const countOf = (name: string) => header.get(name.toLowerCase())?.length ?? 0
  for (const name of closedFields) add(name, countOf(name) + 1)
  for (const name of singleFields) if (countOf(name) > 0) add(name, countOf(name) + 1)
  for (const name of header.keys()) if (otherSignedFields.test(name)) add(name, countOf(name))
  return wanted
}

/** RFC 6376 §5.4.2: fields of one name are taken from the last upwards, and one that is not there is nothing. */
function chooseFields(header: Header, names: readonly string[]): string[] {
  const taken = new Map<string, number>()
  return names.flatMap((name) => {
    const key = name.toLowerCase()
    const count = (taken.get(key) ?? 0) + 1
    taken.set(key, count)
    return header.get(key)?.at(-count) ?? []
  })
}

/** The field with an empty b=, as it is signed. */
function signatureField(key: DkimKey, signedAt: Date, bodyHash: string, names: readonly string[]): string {
  const seconds = Math.floor(signedAt.getTime() / 1_000)
  const last = names.length - 1
  const list = names.map((name, i) => (i < last ? `${name}:` : `${name};`))
  return [
    `DKIM-Signature: v=1; a=${key.algorithm}-sha256; c=relaxed/relaxed;`,
    ` d=${key.domain}; s=${key.selector}; t=${seconds};`,
    ` bh=${bodyHash};`,
    ` h=${fold(list, ' h='.length)}`,
    ' b=',
  ].join('\r\n')
}

/** Puts pieces one behind the other, with a fold before one that does not fit the line; §3.2 allows it within b= and h=. */
function fold(pieces: readonly string[], firstColumn: number): string {
  let text = ''
  let column = firstColumn
  for (const piece of pieces) {
    if (column + piece.length > lineLength) {
      text += '\r\n '
      column = 1
    }
    text += piece
    column += piece.length
  }
  return text
}

/** On libuv's threads. RFC 8463 §3: Ed25519 signs the digest, and not the text itself. */
function signText(text: Buffer, { algorithm, privateKey }: DkimKey): Promise<Buffer> {
  if (privateKey.asymmetricKeyType !== algorithm) {
    return Promise.reject(
      new TypeError(`a key of ${privateKey.asymmetricKeyType} cannot sign by ${algorithm}`),
    )
  }
  return algorithm === 'rsa'
    ? signAsync('sha256', text, privateKey)
    : signAsync(null, createHash('sha256').update(text).digest(), privateKey)
}

/**
 * SHA-256 of the body in relaxed form (RFC 6376 §3.4.4): runs of white space are one space, none at the end of a line; no
 * empty lines at the end, and one CRLF behind the last line that is left. A body without any such line is nothing at all.
 *
 * @param start where the body begins
 */
async function hashBody(mail: Buffer, start: number): Promise<Buffer> {
  const hash = createHash('sha256')
  let end = mail.length
  while (end > start && isWhite(mail[end - 1]!)) end--
  if (end === start) return hash.digest()
  // A space that is held back from the slice before may come on top.
  const out = Buffer.allocUnsafe(Math.min(sliceLength, end - start) + 1)
  let holdsSpace = false
  for (let at = start; at < end; at += sliceLength) {
    if ((at - start) % turnLength === 0 && at > start) await setImmediate()
    const slice = relax(mail.subarray(at, Math.min(at + sliceLength, end)), out, holdsSpace)
    hash.update(out.subarray(0, slice.length))
    holdsSpace = slice.holdsSpace
  }
  return hash.update('\r\n').digest()
}

/** CR, LF and white space: what can stand at the end of a body and not count. */
function isWhite(octet: number): boolean {
  return octet === SPACE || octet === TAB || octet === CR || octet === LF
}

/**
 * Writes `source` to `out` with its white space reduced; what may turn out to be the end of a line is held back.
 *
 * Words have a loop of their own: 16 µs for 10 KB instead of 22.
 */
function relax(
  source: Buffer,
  out: Buffer,
  holdsSpaceBefore: boolean,
): { length: number; holdsSpace: boolean } {
  const end = source.length
  let holdsSpace = holdsSpaceBefore
  let length = 0
  let i = 0
  while (i < end) {
    let octet = source[i++]!
    if (octet === SPACE || octet === TAB) {
      holdsSpace = true
      continue
    }
    if (holdsSpace && octet !== CR) out[length++] = SPACE
    holdsSpace = false
    out[length++] = octet
    for (; i < end; i++) {
      octet = source[i]!
      if (octet === SPACE || octet === TAB) break
      out[length++] = octet
    }
  }
  return { length, holdsSpace }
}
