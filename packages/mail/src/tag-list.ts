/** Lists of the form "name=value; name=value": DKIM's key records (RFC 6376 §3.2) and DMARC's (RFC 9989 §4.7). */

/** Null when it is no tag list. Of a name that comes twice verifiers take what they like: no list either. */
export function readTags(text: string): Map<string, string> | null {
  const tags = new Map<string, string>()
  for (const part of text.split(';')) {
    if (part.trim() === '') continue
    const equals = part.indexOf('=')
    const name = part.slice(0, Math.max(equals, 0)).trim()
    if (!/^[A-Za-z][A-Za-z0-9_]*$/.test(name) || tags.has(name)) return null
    tags.set(name, part.slice(equals + 1).trim())
  }
  return tags
}
