/**
 * The extensions of a certificate that Node does not show: how deep the path below an authority may be, and which are there that
 * we could not honour. A reader of DER (X.690) for this one structure; all lengths are checked, and nonsense gives null.
 */

export interface CertificateExtensions {
  /** pathLenConstraint (RFC 5280 §4.2.1.9); null: unlimited. */
  pathLength: number | null
  /** Object identifiers of extensions that would change the judgement and are not evaluated. */
  notUnderstood: string[]
}

const basicConstraints = '2.5.29.19'
/** A constraint whether marked as critical or not: RFC 5280 §4.2.1.10 wants it critical, and not all are. */
const nameConstraints = '2.5.29.30'
/**
 * Evaluated by Node (key usage, alternative names, extended key usage, basic constraints), or without an effect on what is asked
 * here (identifiers of keys, and policies, of which we demand none).
 */
const understood = new Set([
  basicConstraints,
  '2.5.29.14',
  '2.5.29.15',
  '2.5.29.17',
  '2.5.29.32',
  '2.5.29.35',
  '2.5.29.37',
])

interface Element {
  tag: number
  content: Buffer
}

const tags = { boolean: 0x01, integer: 0x02, identifier: 0x06, sequence: 0x30, extensions: 0xa3 } as const

/** @param der a certificate (RFC 5280 §4.1); null when it cannot be read */
export function readExtensions(der: Buffer): CertificateExtensions | null {
  try {
    const found: CertificateExtensions = { pathLength: null, notUnderstood: [] }
    const certificate = elementsOf(elementsOf(der)[0])
    const wrapped = elementsOf(certificate[0]).find(({ tag }) => tag === tags.extensions)
    if (wrapped === undefined) return found
    for (const extension of elementsOf(elementsOf(wrapped)[0])) {
      const [identifier, ...rest] = elementsOf(extension)
      const value = rest.at(-1)
      if (identifier?.tag !== tags.identifier || value === undefined) return null
      const name = readIdentifier(identifier.content)
      const isCritical = rest.length === 2 && rest[0]?.tag === tags.boolean && rest[0].content[0] !== 0
      if (name === nameConstraints || (isCritical && !understood.has(name))) found.notUnderstood.push(name)
      if (name === basicConstraints) found.pathLength = readPathLength(value)
    }
    return found
  } catch (error) {
    if (error instanceof RangeError) return null
    throw error
  }
}

/** BasicConstraints ::= SEQUENCE { cA BOOLEAN DEFAULT FALSE, pathLenConstraint INTEGER OPTIONAL } */
function readPathLength(value: Element): number | null {
  const number = elementsOf(elementsOf(value)[0]).find(({ tag }) => tag === tags.integer)
  if (number === undefined) return null
  if (number.content.length === 0 || number.content.length > 4) throw new RangeError('not a small number')
  return number.content.readUIntBE(0, number.content.length)
}

/** The elements in a constructed one, or at the top. */
function elementsOf(within: Element | Buffer | undefined): Element[] {
  if (within === undefined) throw new RangeError('an element is missing')
  const bytes = Buffer.isBuffer(within) ? within : within.content
  const elements: Element[] = []
  for (let at = 0; at < bytes.length; ) {
    const tag = bytes.readUInt8(at)
    let length = bytes.readUInt8(at + 1)
    let start = at + 2
    if (length >= 0x80) {
      const size = length & 0x7f
      if (size === 0 || size > 4) throw new RangeError('a length that DER does not know')
      length = bytes.readUIntBE(start, size)
      start += size
    }
    if (start + length > bytes.length) throw new RangeError('an element is cut off')
    elements.push({ tag, content: bytes.subarray(start, start + length) })
    at = start + length
  }
  return elements
}

/** X.690 §8.19; the first two arcs share a number. */
function readIdentifier(content: Buffer): string {
  const arcs: number[] = []
  let arc = 0
  for (const byte of content) {
    arc = arc * 128 + (byte & 0x7f)
    if (byte & 0x80) continue
    arcs.push(arc)
    arc = 0
  }
  const first = arcs.shift() ?? 0
  const top = Math.min(2, Math.floor(first / 40))
  return [top, first - top * 40, ...arcs].join('.')
}
