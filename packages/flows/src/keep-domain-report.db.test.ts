/** Whose sums a report gets into, that it counts once, and how long it is kept: against a real PostgreSQL. */
import { createIdSource, type Uuid } from '@valija/core'
import {
  type Database,
  deleteDomain,
  forgetOldDomainReports,
  insertDomainReport,
  insertPendingDomain,
  insertVouchedDomain,
  maxReportsPerDay,
  openDatabase,
  readDomainReports,
} from '@valija/store'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { createDatabase, type TestDatabase } from '../../../tests/support/database.ts'
import { dmarcXml, type RecordFixture, tlsJson } from '../../../tests/support/domain-reports.ts'
import { keepReport } from './keep-domain-report.ts'

const newId = createIdSource(Date.now)
const [acme, rival] = [newId(), newId()]
const dayMs = 86_400_000
/** Yesterday in UTC, as reports are made. */
const begin = Math.floor(Date.now() / dayMs) * (dayMs / 1000) - dayMs / 1000
const day = new Date(begin * 1000).toISOString().slice(0, 10)
const end = begin + dayMs / 1000 - 1

let target: TestDatabase
let database: Database

beforeAll(async () => {
  target = await createDatabase()
  database = openDatabase({ url: target.url, onError: () => undefined })
  await database.engine.query(`INSERT INTO valija.tenants (id, name) VALUES ($1, 'acme'), ($2, 'rival')`, [
    acme,
    rival,
  ])
})
afterEach(() => database.engine.query('DELETE FROM valija.domains').then(() => undefined))
afterAll(async () => {
  await database.close()
  await target.drop()
})

async function addDomain(tenantId: Uuid, name: string, isVerified = true): Promise<Uuid> {
  const dkimKeys = [
    {
      selector: 'vlj1',
      algorithm: 'rsa' as const,
      publicKey: '',
      privateKey: Buffer.alloc(1),
      state: 'active' as const,
      isOwn: false,
    },
  ]
  const row = {
    id: newId(),
    tenantId,
    name,
    signsDkim: false,
    dkimAlgorithms: ['rsa' as const],
    dkimKeys,
    token: 't',
  }
  if (isVerified) await insertVouchedDomain(database, { ...row, status: 'verified', isVouched: true })
  else await insertPendingDomain(database, { ...row, status: 'pending', isVouched: false })
  return row.id
}

const keep = async (domainId: Uuid, ...contents: (string | Buffer)[]) => {
  const attachments = contents.map((content) => ({
    filename: 'r.xml',
    contentType: 'text/xml',
    content: Buffer.from(content),
  }))
  const verdict = await keepReport({ database }, { domainId, tenantId: null, attachments })
  const { isGone, reports, faults } = verdict
  return [...(isGone ? ['gone'] : []), ...reports.map(({ outcome }) => outcome), ...faults]
}
const xml = (records?: RecordFixture[], about: Parameters<typeof dmarcXml>[1] = {}) =>
  dmarcXml(records, { begin, end, ...about })
const sumsOf = async (tenantId: Uuid, domainId: Uuid) => {
  const search = { domainId, firstDay: '1970-01-01', lastDay: '9999-12-31', beforeDay: null, limit: 100 }
  return readDomainReports(database, tenantId, search)
}

test('a report is added to the sums of its day, by source and result', async () => {
  const domainId = await addDomain(acme, 'acme.test')
  await database.engine.query(
    `INSERT INTO valija.source_ips (id, address, bind, ehlo_name) VALUES ($1, '192.0.2.1', '192.0.2.1', 'mx.test')`,
    [newId()],
  )
  const failed = { dkim: 'fail', spf: 'fail' }
  const signed = (selector: string, result: string) =>
    `<dkim><domain>acme.test</domain><selector>${selector}</selector><result>${result}</result></dkim>`
  const records = [
    { count: 90 },
    { count: 3, ...failed, disposition: 'reject', auth: signed('VLJ1', 'fail') },
    { count: 4, ...failed, ip: '198.51.100.7', disposition: 'quarantine', auth: signed('other', 'pass') },
    { count: 2, spf: 'fail', ip: '198.51.100.7' },
  ]
  expect(await keep(domainId, xml(records))).toEqual(['kept'])
  expect(await keep(domainId, xml([{ count: 1 }], { reporter: 'gmx.net' }), tlsJson([], { day }))).toEqual([
    'kept',
    'kept',
  ])
  const source = { signedBy: '', spfDomain: '', headerFrom: 'acme.test', override: '' }
  const dmarc = {
    reports: 2,
    messages: 100,
    passed: 93,
    dispositions: { none: 93, quarantine: 4, reject: 3 },
    reporters: [
      { reporter: 'google.com', messages: 99, passed: 92 },
      { reporter: 'gmx.net', messages: 1, passed: 1 },
    ],
    failingSources: [
      {
        ...source,
        sourceIp: '198.51.100.7',
        isOurs: false,
        signature: 'none',
        signedBy: 'acme.test',
        messages: 4,
        blocked: 4,
      },
      { ...source, sourceIp: '192.0.2.1', isOurs: true, signature: 'broken', messages: 3, blocked: 3 },
    ],
  }
  const tls = {
    reports: 1,
    sessions: 5,
    failed: 0,
    reporters: [{ reporter: 'Example Inc.', sessions: 5, failed: 0 }],
    failures: [],
  }
  expect(await sumsOf(acme, domainId)).toEqual({ days: [{ day, dmarc, tls }], totals: { dmarc, tls } })
})

describe('a report counts once', () => {
  test('however often it comes, also at the same time', async () => {
    const domainId = await addDomain(acme, 'acme.test')
    const all = await Promise.all(Array.from({ length: 6 }, () => keep(domainId, xml([{ count: 7 }]))))
    expect(all.flat().sort()).toEqual(['kept', ...Array.from({ length: 5 }, () => 'known')])
    expect(await keep(domainId, xml([{ count: 9 }]))).toEqual(['known'])
    expect((await sumsOf(acme, domainId)).totals.dmarc).toMatchObject({ reports: 1, messages: 7 })
  })

  test('per reporter, id and kind', async () => {
    const domainId = await addDomain(acme, 'acme.test')
    const reports = [
      xml(),
      xml([{}], { reporter: 'gmx.net' }),
      xml([{}], { id: 'other' }),
      tlsJson([], { reporter: 'google.com', id: '8293631894893125362', day }),
    ]
    expect(await keep(domainId, ...reports)).toEqual(['kept', 'kept', 'kept', 'kept'])
    expect((await sumsOf(acme, domainId)).totals).toMatchObject({
      dmarc: { messages: 3 },
      tls: { sessions: 5 },
    })
  })
})

describe('whose report it is', () => {
  const empty = { days: [], totals: { dmarc: null, tls: null } }

  test.each(['rival.test', 'acme.test.rival.test', 'xacme.test', 'co.uk'])(
    'one about %s changes nothing of acme.test',
    async (domain) => {
      const domainId = await addDomain(acme, 'acme.test')
      expect(await keep(domainId, xml([{}], { domain }), tlsJson([], { domain, day }))).toEqual([
        'foreign',
        'foreign',
      ])
      expect(await sumsOf(acme, domainId)).toEqual(empty)
    },
  )

  test('one about a domain below counts, unless another tenant verified that', async () => {
    const domainId = await addDomain(acme, 'acme.test')
    expect(await keep(domainId, xml([{}], { domain: 'mail.acme.test' }))).toEqual(['kept'])
    const shop = await addDomain(rival, 'shop.acme.test')
    const about = { domain: 'eu.shop.acme.test' }
    expect(await keep(domainId, xml([{}], about), tlsJson([], { ...about, day }))).toEqual([
      'foreign',
      'foreign',
    ])
    expect(await keep(shop, xml([{}], about))).toEqual(['kept'])
    expect((await sumsOf(acme, domainId)).totals.dmarc).toMatchObject({ messages: 1 })
  })

  test('one about the domain above counts with what concerns this one', async () => {
    const domainId = await addDomain(acme, 'mail.acme.test')
    const records = [
      { count: 1 },
      { count: 10, headerFrom: 'mail.acme.test' },
      { count: 100, headerFrom: 'other.acme.test' },
    ]
    expect(await keep(domainId, xml(records, { domain: 'acme.test' }))).toEqual(['kept'])
    expect((await sumsOf(acme, domainId)).totals.dmarc).toMatchObject({ messages: 10 })
    await addDomain(rival, 'acme.test')
    expect(await keep(domainId, xml(records, { domain: 'acme.test', id: 'b' }))).toEqual(['foreign'])
  })

  test('rows about names that another tenant verified are left out', async () => {
    const domainId = await addDomain(acme, 'acme.test')
    await addDomain(rival, 'shop.acme.test')
    const records = [
      { count: 1 },
      { count: 10, headerFrom: 'shop.acme.test' },
      { count: 100, headerFrom: 'else.test' },
    ]
    expect(await keep(domainId, xml(records))).toEqual(['kept'])
    expect((await sumsOf(acme, domainId)).totals.dmarc).toMatchObject({ messages: 1 })
  })

  test('the address of a domain that another tenant has verified since takes nothing', async () => {
    const domainId = await addDomain(rival, 'acme.test', false)
    expect(await keep(domainId, xml())).toEqual(['kept'])
    await addDomain(acme, 'acme.test')
    expect(await keep(domainId, xml([{}], { id: 'b' }))).toEqual(['foreign'])
  })

  test('the address of a deleted domain takes nothing, and its sums are gone with it', async () => {
    const domainId = await addDomain(acme, 'acme.test')
    await keep(domainId, xml(), tlsJson([], { day }))
    await deleteDomain(database, acme, domainId)
    expect(await keep(domainId, xml())).toEqual(['gone'])
    const left = await database.engine.query(
      `SELECT FROM valija.domain_reports UNION ALL SELECT FROM valija.domain_dmarc_counts UNION ALL SELECT FROM valija.domain_tls_counts`,
    )
    expect(left.rowCount).toBe(0)
  })
})

test('a domain that is deleted while its report is written is not tried for again', async () => {
  const domain = { id: newId(), tenantId: acme }
  const about = { reporter: 'r', reportId: '1', policyDomain: 'acme.test', at: new Date() }
  let transactions = 0
  const count = () => {
    transactions++
  }
  database.engine.on('acquire', count)
  const counts = { kind: 'tls', rows: [] } as const
  expect(await insertDomainReport(database, { domain, ...about, counts })).toBe('no_domain')
  database.engine.off('acquire', count)
  expect(transactions).toBe(1)
})

test('what no report is about, and what is none, changes nothing and is told', async () => {
  const domainId = await addDomain(acme, 'acme.test')
  const month = 40 * (dayMs / 1000)
  expect(
    await keep(domainId, dmarcXml([{}], { begin: 0, end: 1 }), xml([{}], { end: begin + month }), 'unused'),
  ).toEqual(['implausible', 'implausible', expect.stringContaining('end of <feedback> is missing')])
  expect((await sumsOf(acme, domainId)).days).toEqual([])
})

test('a failure that calls itself success is one all the same', async () => {
  const domainId = await addDomain(acme, 'acme.test')
  await keep(domainId, tlsJson([{ 'result-type': 'success', 'failed-session-count': 2 }], { day }))
  expect((await sumsOf(acme, domainId)).totals.tls).toMatchObject({ sessions: 7, failed: 2 })
})

test('a flood of reports about one domain is cut off, and the others are not concerned', async () => {
  const [domainId, other] = [await addDomain(acme, 'acme.test'), await addDomain(acme, 'other.test')]
  await database.engine.query(
    `INSERT INTO valija.domain_reports (tenant_id, domain_id, kind, reporter, report_id, policy_domain, day)
     SELECT $1, $2, 'dmarc', 'r', n, 'acme.test', now() FROM generate_series(1, $3::int) AS n`,
    [acme, domainId, maxReportsPerDay - 1],
  )
  expect(await keep(domainId, xml())).toEqual(['kept'])
  expect(await keep(domainId, xml([{}], { id: 'one too many' }))).toEqual(['too_many'])
  expect(await keep(domainId, xml())).toEqual(['known'])
  expect(await keep(other, xml([{}], { domain: 'other.test' }))).toEqual(['kept'])
})

describe('what a report makes us look up', () => {
  /** Names that PostgreSQL is asked for, and how often. */
  const watched = () => {
    const asked: number[] = []
    const query = (...args: Parameters<Database['engine']['query']>) => {
      const [what] = args as unknown as [{ name?: string; values?: unknown[][] }]
      if (what.name === 'find-verified-domains') asked.push(what.values![0]!.length)
      return database.engine.query(...args)
    }
    return {
      asked,
      desk: {
        database: { ...database, engine: Object.create(database.engine, { query: { value: query } }) },
      },
    }
  }
  const keepWatched = async (domainId: Uuid, content: string) => {
    const { asked, desk } = watched()
    const attachments = [{ filename: 'r.xml', contentType: 'text/xml', content: Buffer.from(content) }]
    const { reports } = await keepReport(desk, { domainId, tenantId: null, attachments })
    return { asked, outcomes: reports.map(({ outcome }) => outcome) }
  }
  const deep = (n: number, domain: string) => `n${n}.${'a.'.repeat(115)}${domain}`

  test('is a thousand names at most, however many and deep; the rest of its mails count without their names', async () => {
    const domainId = await addDomain(acme, 'acme.test')
    await addDomain(rival, 'shop.acme.test')
    const records = Array.from({ length: 1_000 }, (_, n) => ({
      headerFrom: deep(n, n % 2 === 0 ? 'acme.test' : `x${n}.acme.test`),
    }))
    const { asked, outcomes } = await keepWatched(
      domainId,
      xml([{ headerFrom: 'shop.acme.test' }, ...records]),
    )
    expect(outcomes).toEqual(['kept'])
    expect(asked).toHaveLength(1)
    expect(asked[0]).toBeLessThan(1_200)
    expect((await sumsOf(acme, domainId)).totals.dmarc).toMatchObject({ messages: 1_000 })
  })

  test('is nothing of names that are not its domain’s, and nothing at all when it is about another domain', async () => {
    const domainId = await addDomain(acme, 'acme.test')
    const records = [{}, ...Array.from({ length: 1_000 }, (_, n) => ({ headerFrom: deep(n, 'else.test') }))]
    expect(await keepWatched(domainId, xml(records))).toEqual({ asked: [1], outcomes: ['kept'] })
    const about = { domain: 'else.test', id: 'b' }
    expect(await keepWatched(domainId, xml(records, about))).toEqual({ asked: [], outcomes: ['foreign'] })
  })
})

test('what is beyond the retention is forgotten, day by day', async () => {
  const domainId = await addDomain(acme, 'acme.test')
  const old = { begin: begin - 95 * (dayMs / 1000), end: end - 95 * (dayMs / 1000) }
  const oldDay = new Date(old.begin * 1000).toISOString().slice(0, 10)
  await keep(domainId, xml(), xml([{}], { ...old, id: 'old' }), tlsJson([], { day: oldDay }))
  expect((await sumsOf(acme, domainId)).days.map((shown) => shown.day)).toEqual([day, oldDay])
  expect(await forgetOldDomainReports(database.engine, 90 * dayMs)).toBe(4)
  expect(await forgetOldDomainReports(database.engine, 90 * dayMs)).toBe(0)
  expect((await sumsOf(acme, domainId)).days.map((shown) => shown.day)).toEqual([day])
})
