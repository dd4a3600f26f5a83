/** How the readers of a bulk mail unsubscribe: by links of ours, or in the sender's own way. */
import { type Parsed, parseAddress, unsubscribeFieldNames } from '@valija/mail'
import { type Fault, pointer } from './message-input-text.ts'
import type { Stream } from './stream.ts'

/** `true`: links of ours. */
export type UnsubscribeInput = true | { mailto?: string; url?: string }

export type UnsubscribeWay =
  | { kind: 'ours' }
  /** `url` takes the POST of RFC 8058; `mailto` is a URI. One of them is there. */
  | { kind: 'own'; url: string | null; mailto: string | null }

/** With its frame and its name it stays on one line of 998 octets (RFC 5322 §2.1.1). */
const MAX_URI_OCTETS = 900
/** RFC 3986: what may stand in a URI, so neither brackets nor spaces nor anything that is not ASCII. */
const URI_CHARACTERS = /^[A-Za-z0-9\-._~:/?#[\]@!$&'()*+,;=%]+$/
const MAILTO = /^mailto:/i

interface Surroundings {
  stream: Stream
  /** Names of the header fields that the message has already, in lower case, each with the place where they were given. */
  present: ReadonlyMap<string, string>
}

/** @returns null without the wish, or where a fault was added */
export function readUnsubscribe(
  input: UnsubscribeInput | undefined,
  { stream, present }: Surroundings,
  faults: Fault[],
): UnsubscribeWay | null {
  if (input === undefined) return null
  const before = faults.length
  const add = (path: string, message: string) => faults.push({ path, message })
  if (stream !== 'bulk') {
    add('/unsubscribe', 'Is for bulk mail only. Set "stream" to "bulk", or leave it out.')
  }
  for (const name of unsubscribeFieldNames) {
    const path = present.get(name)
    if (path === undefined) continue
    add(path, `There is a header field ${name} already. Leave out either that one or unsubscribe.`)
  }
  const way = input === true ? { kind: 'ours' as const } : readOwn(input, add)
  return faults.length === before ? way : null
}

function readOwn(
  { url, mailto }: { mailto?: string; url?: string },
  add: (path: string, message: string) => void,
): UnsubscribeWay {
  if (url === undefined && mailto === undefined) {
    add('/unsubscribe', 'Is empty. Give url, mailto or both, or true for links of ours.')
  }
  const read = (field: string, text: string | undefined, parse: (text: string) => Parsed<string>) => {
    if (text === undefined) return null
    const parsed = parse(text)
    if (parsed.ok) return parsed.value
    add(pointer('/unsubscribe', field), parsed.message)
    return null
  }
  return { kind: 'own', url: read('url', url, parseUrl), mailto: read('mailto', mailto, parseMailto) }
}

/** RFC 8058 §3.1: an HTTPS URI. */
function parseUrl(text: string): Parsed<string> {
  if (text.length > MAX_URI_OCTETS) return refuse(`Is longer than ${MAX_URI_OCTETS} characters. Shorten it.`)
  if (!URI_CHARACTERS.test(text) || !URL.canParse(text) || new URL(text).protocol !== 'https:') {
    return refuse(
      'Is not a URL that begins with https://, which one click needs (RFC 8058). Percent-encode it.',
    )
  }
  return { ok: true, value: text }
}

/** An address, or a whole URI with a subject or a body. */
function parseMailto(text: string): Parsed<string> {
  const [given = '', query] = MAILTO.test(text) ? splitUri(text) : [text, undefined]
  const address = parseAddress(given)
  if (!address.ok) return address
  const { local, domain } = address.value
  // RFC 6068 §2: all that is not unreserved or one of these few is encoded.
  const encoded = encodeURIComponent(local).replace(/%(?:2B|24|21|27|2A)/g, decodeURIComponent)
  const uri = `mailto:${encoded}@${domain}${query === undefined ? '' : `?${query}`}`
  if (uri.length > MAX_URI_OCTETS) return refuse(`Is longer than ${MAX_URI_OCTETS} characters. Shorten it.`)
  return URI_CHARACTERS.test(uri)
    ? { ok: true, value: uri }
    : refuse('What stands behind the "?" may hold only ASCII, without spaces. Percent-encode it (RFC 6068).')
}

function splitUri(text: string): [address: string, query: string | undefined] {
  const rest = text.slice('mailto:'.length)
  const mark = rest.indexOf('?')
  const [address, query] = mark < 0 ? [rest, undefined] : [rest.slice(0, mark), rest.slice(mark + 1)]
  try {
    return [decodeURIComponent(address), query]
  } catch {
    // Not to be decoded, so no address either: its fault is told.
    return [address, query]
  }
}

function refuse(message: string): { ok: false; message: string } {
  return { ok: false, message }
}
