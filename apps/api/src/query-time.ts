/** Times in query strings. */

import { invalidRequest } from '@valija/core'
import { Type } from 'typebox'

export const timeQuery = (description: string) =>
  Type.Optional(Type.String({ format: 'date-time', description, examples: ['2026-11-23T00:00:00Z'] }))

/**
 * @param name of the query key
 * @returns milliseconds since 1970; undefined without a value
 * @throws {ProductError} invalid_request
 */
export function readTime(name: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  const ms = Date.parse(text)
  // The schema's format lets a leap second through, which Date does not know, and years that no id can hold.
  if (Number.isNaN(ms) || ms < 0)
    throw invalidRequest([{ path: name, message: 'Must be a time after 1970.' }])
  return ms
}
