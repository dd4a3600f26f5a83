/**
 * Arrays as parameters in PostgreSQL's binary form (array_recv, text_recv and uuid_recv in its source). node-postgres would write them as text, each
 * element in quotes with its own quotes escaped, and PostgreSQL undoes that octet by octet: of JSON that is every tenth. It takes
 * a buffer for a parameter in binary form.
 *
 * Measured with batches of 64 settled mails: 5 instead of 13 µs of processor time for each mail to write them.
 */
import type { Uuid } from '@valija/core'

/** Of PostgreSQL's catalogue, the same everywhere. */
const typeIds = { text: 25, uuid: 2950 } as const

const headerBytes = 20
const nullLength = -1
const uuidBytes = 16

/** For a parameter of type `text[]`. */
export function textArray(values: readonly (string | null)[]): Buffer {
  let length = headerBytes
  for (const value of values) length += 4 + (value === null ? 0 : Buffer.byteLength(value))
  const octets = begin(length, typeIds.text, values)
  let at = headerBytes
  for (const value of values) {
    const written = value === null ? 0 : octets.write(value, at + 4)
    octets.writeInt32BE(value === null ? nullLength : written, at)
    at += 4 + written
  }
  return octets
}

/** For a parameter of type `uuid[]`. */
export function uuidArray(values: readonly (Uuid | null)[]): Buffer {
  const count = values.length
  const nulls = values.reduce((sum, value) => sum + (value === null ? 1 : 0), 0)
  const octets = begin(headerBytes + 4 * count + uuidBytes * (count - nulls), typeIds.uuid, values)
  let at = headerBytes
  for (const value of values) {
    octets.writeInt32BE(value === null ? nullLength : uuidBytes, at)
    at += 4
    if (value !== null) at += octets.write(value.replaceAll('-', ''), at, 'hex')
  }
  return octets
}

/** An array of no element has no dimension. */
function begin(length: number, typeId: number, values: readonly (string | null)[]): Buffer {
  const isEmpty = values.length === 0
  const octets = Buffer.allocUnsafe(isEmpty ? headerBytes - 8 : length)
  octets.writeInt32BE(isEmpty ? 0 : 1, 0)
  octets.writeInt32BE(values.includes(null) ? 1 : 0, 4)
  octets.writeInt32BE(typeId, 8)
  if (isEmpty) return octets
  octets.writeInt32BE(values.length, 12)
  // The number of the first element.
  octets.writeInt32BE(1, 16)
  return octets
}
