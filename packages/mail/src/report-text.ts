/** Texts in reports: anybody's words, cut to what can be kept and shown. */
import { parseDomain } from './address.ts'

/** One line without control characters, halves of characters, and what is beyond `maxLength` UTF-16 units. */
export function reportText(value: unknown, maxLength: number): string {
  if (typeof value !== 'string') return ''
  const text = value.slice(0, 4 * maxLength).replace(/[\p{Cc}\p{Zl}\p{Zp}\s]+/gu, ' ')
  return text.trim().slice(0, maxLength).toWellFormed()
}

/** In lower-case A-labels; empty for what is no domain. */
export function reportDomain(value: unknown): string {
  const domain = parseDomain(reportText(value, 1_000))
  return domain.ok ? domain.value : ''
}

/** Who made a report, by its own word: nobody checks it. */
export const reporterLength = 100
export const reportIdLength = 250

/** A count that can be true; beyond a thousand million a day it is nonsense. */
export function reportCount(value: unknown): number | null {
  const number = typeof value === 'string' && /^\s*\d{1,12}\s*$/.test(value) ? Number(value) : value
  return typeof number === 'number' && Number.isInteger(number) && number >= 0 && number <= 1e9
    ? number
    : null
}

/** The time of a report, in milliseconds since 1970: seconds since then (RFC 7489), or RFC 3339 (RFC 8460); some mix them up. */
export function reportTime(value: unknown): number | null {
  const text = typeof value === 'number' ? String(value) : reportText(value, 40)
  const isSeconds = /^\d{1,13}(?:\.\d+)?$/.test(text)
  const ms = isSeconds ? toMs(Number(text)) : Date.parse(/^\d{4}-\d\d-\d\d/.test(text) ? withZone(text) : '')
  return Number.isFinite(ms) && ms >= 0 && ms < 4e12 ? ms : null
}

function toMs(number: number): number {
  // Milliseconds where seconds belong: seconds of that size lie beyond the year 5000.
  return number > 1e11 ? number : Math.floor(number * 1000)
}

/** A time without a zone is in UTC, as reports are. */
function withZone(text: string): string {
  return /T[\d:.]+$/.test(text) ? `${text}Z` : text
}
