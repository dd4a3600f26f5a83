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
  if (!isBelow(policyDomain, domain.name) && !isBelow(domain.name, policyDomain)) return null
  const cover = await createCover(database, domain, [
    policyDomain,
    ...report.rows.map((row) => row.headerFrom),
  ])
  const isCovered = cover(policyDomain) === 'own'
  if (!isCovered && !isAbove(cover, policyDomain, domain)) return null
  const ours = new Set((await listSourceAddresses(database.engine)).map((address) => canonicalIp(address)))
  const rows = report.rows.flatMap((row) => {
    const whose = row.headerFrom === '' && isCovered ? 'own' : cover(row.headerFrom)
    if (whose === 'foreign') return []
    return toCount(whose === 'own' ? row : withoutName(row), ours.has(row.sourceIp), domain)
  })
  return { policyDomain, counts: { kind: 'dmarc', rows } }
}

async function countTls(
  { database }: { database: Database },
  domain: ReportedDomain,
  { policies }: TlsReport,
): Promise<Counted | null> {
  const named = policies.map(({ policyDomain }) => policyDomain)
  if (!named.some((name) => isBelow(name, domain.name))) return null
  const cover = await createCover(database, domain, named)
  const about = policies.filter(({ policyDomain }) => cover(policyDomain) === 'own')
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

/**
 * Names that one report has looked up, with those between them and the domain. Reports name a handful. Without a bound 1,000 names of 119
 * labels were 119,001 for PostgreSQL, and held up the process for 665 ms.
 */
const maxNames = 1_000

/**
 * Whose a name is: the domain's `own`, being it or below it with no other tenant's between; `foreign`; or `untold`: below it, beyond what
 * one report has looked up.
 */
interface Cover {
  (name: string): 'own' | 'foreign' | 'untold'
  /** Whether another tenant has verified the domain above, or the nearest one above that. */
  isForeignAbove(above: string): boolean
}

async function createCover(
  database: Database,
  domain: ReportedDomain,
  names: readonly string[],
): Promise<Cover> {
  const above = namesThatCover(domain.name)
  const asked = new Set(above)
  /** From the name itself down to the domain; null where a public suffix lies between. */
  const ways = new Map<string, readonly string[] | null>()
  for (const name of names) {
    if (ways.has(name) || asked.size >= maxNames || !isBelow(name, domain.name)) continue
    const way = wayDown(name, domain.name)
    ways.set(name, way)
    for (const step of way ?? []) asked.add(step)
  }
  const isOurs = new Map<string, boolean>()
  for (const { name, tenantId } of await findVerifiedDomains(database.engine, [...asked]))
    isOurs.set(name, isOurs.get(name) === true || tenantId === domain.tenantId)
  const isForeign = (steps: readonly string[]) =>
    isOurs.get(steps.find((step) => isOurs.has(step)) ?? '') === false
  const cover = (name: string) => {
    if (!isBelow(name, domain.name)) return 'foreign'
    const way = ways.get(name)
    if (way === undefined) return 'untold'
    return way === null || isForeign([...way, ...above]) ? 'foreign' : 'own'
  }
  return Object.assign(cover, { isForeignAbove: (name: string) => isForeign(namesThatCover(name)) })
}

/** Whether it is the other domain, or in it; said of names alone. */
function isBelow(name: string, domain: string): boolean {
  return name === domain || name.endsWith(`.${domain}`)
}

function wayDown(name: string, domain: string): string[] | null {
  const names = namesThatCover(name)
  const at = names.indexOf(domain)
  return at < 0 ? null : names.slice(0, at)
}

/** Whether it is the domain above this one, up to the registered one, whose policy holds for it (RFC 9989 section 4.10). */
function isAbove(cover: Cover, name: string, domain: ReportedDomain): boolean {
  return namesThatCover(domain.name).includes(name) && !cover.isForeignAbove(name)
}

/** As a report's rows beyond the first thousands are (dmarc-report.ts): how the mails were judged, and nothing else. */
function withoutName(row: DmarcRow): DmarcRow {
  return { ...row, sourceIp: '', headerFrom: '', signatures: [], spfDomain: '', override: '' }
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
