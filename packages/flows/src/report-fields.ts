/**
 * Header fields by which a complaint about a mail finds back to it, whatever is blacked out of it: our token for the message, and, where
 * the receiver may believe it, the address that takes complaints (CFBL-Address, RFC 9477).
 *
 * All recipients share a mail's octets, so the token is the message's; which recipient complains says the return path, or the report.
 */
import type { Sealer, Uuid } from '@valija/core'
import { messageToken, RECIPIENT_TOKEN_HEADER } from '@valija/mail'

/** What of a message they are made of: the same at every attempt. */
export interface TracedMessage {
  messageId: Uuid
  fromDomain: string
  /** When the mail was to be sent first. */
  signedAt: Date
}

/** Gives the fields, each with its CRLF. */
export type ReportFields = (message: TracedMessage) => string

const dayMs = 86_400_000

/** @param bounceDomain VALIJA_BOUNCE_DOMAIN; null: complaints have nowhere to go */
export function createReportFields(parts: { sealer: Sealer; bounceDomain: string | null }): ReportFields {
  const { sealer, bounceDomain } = parts
  const secret = sealer.signingKeys('return path')[0]!
  return ({ messageId, fromDomain, signedAt }) => {
    const token = messageToken({ messageId, day: Math.floor(signedAt.getTime() / dayMs) }, secret)
    const field = `${RECIPIENT_TOKEN_HEADER}: ${token}\r\n`
    if (bounceDomain === null || !isBelow(bounceDomain, fromDomain)) return field
    return `CFBL-Address: ${token}@${bounceDomain}; report=arf\r\n${field}`
  }
}

/**
 * RFC 9477 section 3.1: the address is of the From domain or of one below it. Of another domain it would want a signature by that
 * one too, and receivers ignore it without.
 */
function isBelow(domain: string, fromDomain: string): boolean {
  return domain === fromDomain || domain.endsWith(`.${fromDomain}`)
}
