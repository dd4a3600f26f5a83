/**
 * Whose an address of ours is that somebody reports to: the signed ones alone count, and the domain that they are at does not
 * (it can move). Three kinds: return paths, addresses for complaints about a message, addresses for reports about a domain.
 */
import type { Sealer, Uuid } from '@valija/core'
import { readDomainReportAddress, readMessageToken, readReturnPath, type SignedFault } from '@valija/mail'

/** What a report to an address can be about. */
export type ReportTarget =
  | { kind: 'recipient'; messageId: Uuid; ordinal: number }
  /** All recipients of a message share it. */
  | { kind: 'message'; messageId: Uuid }
  | { kind: 'domain'; domainId: Uuid }

export type ReadAddress = { ok: true; target: ReportTarget } | { ok: false; fault: SignedFault }

export interface ReportAddresses {
  /** @param address with or without a domain, or a bare token */
  read(address: string): ReadAddress
}

const dayMs = 86_400_000

/** @param clock PostgreSQL's */
export function createReportAddresses({
  sealer,
  clock,
}: {
  sealer: Sealer
  clock: { nowMs(): number }
}): ReportAddresses {
  const secrets = sealer.signingKeys('return path')
  return {
    read: (address) => {
      const today = Math.floor(clock.nowMs() / dayMs)
      const path = readReturnPath(address, secrets, today)
      if (path.ok) {
        const { messageId, ordinal } = path.value
        return { ok: true, target: { kind: 'recipient', messageId: uuidOf(messageId), ordinal } }
      }
      const token = readMessageToken(address, secrets, today)
      if (token.ok) return { ok: true, target: { kind: 'message', messageId: uuidOf(token.value.messageId) } }
      const domain = readDomainReportAddress(address, secrets)
      if (domain.ok) return { ok: true, target: { kind: 'domain', domainId: uuidOf(domain.value.domainId) } }
      return { ok: false, fault: worst([path.fault, token.fault, domain.fault]) }
    },
  }
}

/** It has the form of one kind at most: what is wrong with it as that. */
function worst(faults: readonly SignedFault[]): SignedFault {
  return faults.find((fault) => fault !== 'foreign') ?? 'foreign'
}

function uuidOf(hex: string): Uuid {
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-')
}
