/**
 * Counts how TLS went, per destination domain and exchanger (RFC 8460): what a domain's owner would be told in a report, and what an
 * operator sees. Counted in memory and written in batches: no query per mail. A crash loses some seconds of counts, and no mail.
 */
import type { TransactionReport } from '@valija/core'
import { type TlsFailure, type TlsPolicyType, tlsOutcomeOf } from './tls-failure.ts'
import type { HostTlsPolicy } from './tls-policies.ts'

export interface TlsCount {
  domain: string
  policy: TlsPolicyType
  mx: string
  result: TlsFailure | 'success'
  sessions: number
}

export interface TlsReports {
  /** Once per session and domain that it is used for, with the report of its first mail, or of its failure to open. */
  countSession(domain: string, host: string, policy: HostTlsPolicy, report: TransactionReport): void
  /** A host that its policy kept from being tried. */
  countRefused(domain: string, host: string, policy: HostTlsPolicy): void
  start(): void
  /** Writes what is left. */
  stop(): Promise<void>
}

export interface TlsReportParts {
  /** Adds to what is stored of today. */
  save(counts: TlsCount[]): Promise<void>
  onError: (error: Error) => void
  everyMs?: number
}

const flushEveryMs = 15_000
/** Beyond it, new ones are not counted until what is there could be written. */
const maxKept = 20_000

export function createTlsReports({ save, onError, everyMs = flushEveryMs }: TlsReportParts): TlsReports {
  let counts = new Map<string, TlsCount>()
  let timer: NodeJS.Timeout | undefined
  let flushing: Promise<void> = Promise.resolve()
  const add = (count: TlsCount) => {
    // Names come from the DNS; one that PostgreSQL refuses would stop all the others.
    if (!isName(count.domain) || !isName(count.mx)) return
    const key = [count.domain, count.policy, count.mx, count.result].join(' ')
    const known = counts.get(key)
    if (known !== undefined) known.sessions += count.sessions
    else if (counts.size < maxKept) counts.set(key, { ...count })
  }
  const flush = async () => {
    if (counts.size === 0) return
    const taken = counts
    counts = new Map()
    try {
      await save([...taken.values()])
    } catch (error) {
      for (const count of taken.values()) add(count)
      onError(error as Error)
    }
  }
  const flushInTurn = () => {
    flushing = flushing.then(flush)
    return flushing
  }
  return {
    countSession(domain, mx, { reported }, report) {
      const result = tlsOutcomeOf(report, reported)
      if (result !== null) add({ domain, mx, policy: reported.type, result, sessions: 1 })
    },
    countRefused(domain, mx, { reported }) {
      if (reported.fault !== null)
        add({ domain, mx, policy: reported.type, result: reported.fault, sessions: 1 })
    },
    start() {
      timer ??= setInterval(() => void flushInTurn(), everyMs).unref()
    },
    async stop() {
      clearInterval(timer)
      await flushInTurn()
    },
  }
}

function isName(name: string): boolean {
  return /^[!-~]{1,255}$/.test(name)
}
