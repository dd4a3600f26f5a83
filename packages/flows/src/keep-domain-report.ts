/**
 * Keeps what others report about a sender domain: DMARC aggregate reports and TLS reports that came to its report address.
 *
 * Whose report it is, the address says (signed by us, one per domain). What it is about, the report says. Both have to agree: the domain
 * whose policy was found must be that domain, one below it, or the one above it whose policy holds for it; and no name that another
 * tenant has verified, or that lies below such a one, is written to anybody else's sums. The address stands in DNS, so anybody can write
 * to it: reports are shown to people, and nothing else follows from them.
 */
import type { Uuid } from '@valija/core'
import {
  type AggregateReport,
  canonicalIp,
  type DmarcReport,
  type DmarcRow,
  type ReportAttachment,
  readAggregateReports,
  type TlsReport,
} from '@valija/mail'
import {
  type Database,
  type DmarcCount,
  type DomainReportOutcome,
  findReportedDomain,
  findVerifiedDomains,
  insertDomainReport,
  listSourceAddresses,
  type NewDomainReport,
  type ReportedDomain,
  type TlsCount,
} from '@valija/store'
import { namesThatCover } from './sender-domains.ts'

export interface DomainReportArrival {
  /** Of the report address that it came to, which was ours by its signature. */
  domainId: Uuid
  /** Whose domains it can be about; null: anybody's. */
  tenantId: Uuid | null
  attachments: readonly ReportAttachment[]
}

export interface KeptDomainReport {
  kind: AggregateReport['kind']
  reporter: string
  reportId: string
  /** `foreign`: about another domain than its address. `implausible`: about a time that no report is about. */
  outcome: DomainReportOutcome | 'foreign' | 'implausible'
}

export interface DomainReportVerdict {
  /** There is no such domain any more, or not for this tenant. */
  isGone: boolean
  reports: KeptDomainReport[]
  /** What is wrong with attachments that are no report, for people. */
  faults: string[]
}

const dayMs = 24 * 60 * 60_000
/** Reports are about a day, sometimes about an hour or a week. */
const maxSpanMs = 32 * dayMs
const maxAgeMs = 400 * dayMs

/**
 * Takes what came to a report address. Each report counts once, however often it comes: whoever is not sure that this was done does it
 * again.
 *
 * @throws what PostgreSQL throws: nothing is known of the reports then that are not in the answer
 */
export async function keepReport(
  desk: { database: Database },
  arrival: DomainReportArrival,
): Promise<DomainReportVerdict> {
  const { engine } = desk.database
  const domain = await findReportedDomain(engine, arrival.domainId)
  const isGone = domain === null || (arrival.tenantId !== null && arrival.tenantId !== domain.tenantId)
  if (isGone) return { isGone, reports: [], faults: [] }
  const { reports, faults } = await readAggregateReports(arrival.attachments)
  const kept: KeptDomainReport[] = []
  for (const report of reports) {
    const outcome = await keepOne(desk, domain, report)
    kept.push({ kind: report.kind, reporter: report.reporter, reportId: report.reportId, outcome })
  }
  return { isGone, reports: kept, faults }
}

async function keepOne(
  desk: { database: Database },
  domain: ReportedDomain,
  report: AggregateReport,
): Promise<KeptDomainReport['outcome']> {
  const { beginMs, endMs } = report
  const middleMs = (beginMs + endMs) / 2
  if (endMs - beginMs > maxSpanMs || Math.abs(Date.now() - middleMs) > maxAgeMs) return 'implausible'
  const counted =
    report.kind === 'dmarc' ? await countDmarc(desk, domain, report) : await countTls(desk, domain, report)
  if (counted === null) return 'foreign'
  const { reporter, reportId } = report
  return insertDomainReport(desk.database, { domain, reporter, reportId, at: new Date(middleMs), ...counted })
}

type Counted = Pick<NewDomainReport, 'policyDomain' | 'counts'>

async function countDmarc(
  { database }: { database: Database },
  domain: ReportedDomain,
  report: DmarcReport,
): Promise<Counted | null> {
  const { policyDomain } = report
  const named = new Set(report.rows.map(({ headerFrom }) => headerFrom))
  const covers = await createCover(database, domain, [policyDomain, ...named])
  if (!covers(policyDomain) && !isAbove(covers, policyDomain, domain)) return null
  const ours = new Set((await listSourceAddresses(database.engine)).map((address) => canonicalIp(address)))
  const rows = report.rows
    .filter(({ headerFrom }) => covers(headerFrom) || (headerFrom === '' && covers(policyDomain)))
    .map((row) => toCount(row, ours.has(row.sourceIp), domain))
  return { policyDomain, counts: { kind: 'dmarc', rows } }
}

async function countTls(
  { database }: { database: Database },
  domain: ReportedDomain,
  { policies }: TlsReport,
): Promise<Counted | null> {
  const named = policies.map(({ policyDomain }) => policyDomain)
  const covers = await createCover(database, domain, named)
  const about = policies.filter(({ policyDomain }) => covers(policyDomain))
  const [first] = about
  if (first === undefined) return null
  const rows = about.flatMap(({ policyType: policy, succeeded, failures }): TlsCount[] => [
    ...(succeeded > 0 ? [{ policy, mx: '', result: 'success', sessions: succeeded }] : []),
    // A failure of this name would count as none.
    ...failures.map(({ result, mx, sessions }) => ({
      policy,
      mx,
      result: result === 'success' ? 'unspecified' : result,
      sessions,
    })),
  ])
  return { policyDomain: first.policyDomain, counts: { kind: 'tls', rows } }
}

interface Cover {
  (name: string): boolean
  /** Whether another tenant has verified this name or the nearest one above it. */
  isForeign(name: string): boolean
}

/** Tells of names whether they are the domain's own, or below it with no other tenant's between. */
async function createCover(
  database: Database,
  domain: ReportedDomain,
  names: readonly string[],
): Promise<Cover> {
  const all = new Set(names.flatMap(namesThatCover))
  const verified = await findVerifiedDomains(database.engine, [...all])
  const isForeign = (name: string) => {
    const nearest = namesThatCover(name).find((above) => verified.some((row) => row.name === above))
    if (nearest === undefined) return false
    return !verified.some((row) => row.name === nearest && row.tenantId === domain.tenantId)
  }
  const covers = (name: string) => namesThatCover(name).includes(domain.name) && !isForeign(name)
  return Object.assign(covers, { isForeign })
}

/** Whether it is the domain above this one, up to the registered one, whose policy holds for it (RFC 9989 section 4.10). */
function isAbove(covers: Cover, name: string, domain: ReportedDomain): boolean {
  return namesThatCover(domain.name).includes(name) && !covers.isForeign(name)
}

function toCount(row: DmarcRow, isOurs: boolean, domain: ReportedDomain): DmarcCount {
  const { signatures, ...same } = row
  const own = signatures.filter(({ selector }) => domain.selectors.includes(selector))
  const other = signatures.find((signature) => signature.isValid && !own.includes(signature))
  return {
    ...same,
    isOurs,
    signature: own.length === 0 ? 'none' : own.some(({ isValid }) => isValid) ? 'valid' : 'broken',
    signedBy: other?.domain ?? '',
  }
}
