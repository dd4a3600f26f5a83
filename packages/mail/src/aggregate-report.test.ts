import { deflateRawSync, gzipSync } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import { dmarcXml, tlsJson, zip } from '../../../tests/support/domain-reports.ts'
import { readAggregateReports } from './aggregate-report.ts'
import type { DmarcReport } from './dmarc-report.ts'

const attach = (...contents: (string | Buffer)[]) =>
  contents.map((content) => ({ filename: 'r', contentType: 'text/plain', content: Buffer.from(content) }))
const read = (...contents: (string | Buffer)[]) => readAggregateReports(attach(...contents))

async function readOne(content: string | Buffer): Promise<DmarcReport> {
  const { reports, faults } = await read(content)
  expect(faults).toEqual([])
  expect(reports).toHaveLength(1)
  const [report] = reports
  if (report?.kind !== 'dmarc') throw new Error('no DMARC report')
  return report
}

async function expectFault(content: string | Buffer, fault: string | RegExp) {
  const { reports, faults } = await read(content)
  expect(reports).toEqual([])
  expect(faults.at(-1)).toMatch(fault)
}

const row = {
  sourceIp: '192.0.2.1',
  messages: 1,
  disposition: 'none',
  dkim: true,
  spf: true,
  headerFrom: 'acme.test',
  signatures: [],
  spfDomain: 'acme.test',
  override: '',
}

describe('a DMARC report', () => {
  test('is read whole', async () => {
    const auth = `<dkim><domain>Acme.test</domain><selector>VLJ1</selector><result>pass</result></dkim>
      <dkim><domain>list.test</domain><result>fail</result></dkim>
      <spf><domain>bounce.acme.test</domain><scope>mfrom</scope><result>pass</result></spf>`
    const xml = dmarcXml([
      { count: 7, auth },
      { ip: '2001:DB8::0:1', dkim: 'fail', spf: 'fail', disposition: 'reject' },
    ])
    expect(await readOne(xml)).toEqual({
      kind: 'dmarc',
      reporter: 'google.com',
      reportId: '8293631894893125362',
      beginMs: 1764028800_000,
      endMs: 1764115199_000,
      policyDomain: 'acme.test',
      policy: 'reject',
      rows: [
        {
          ...row,
          messages: 7,
          signatures: [
            { domain: 'acme.test', selector: 'vlj1', isValid: true },
            { domain: 'list.test', selector: '', isValid: false },
          ],
          spfDomain: 'bounce.acme.test',
        },
        { ...row, sourceIp: '2001:db8::1', disposition: 'reject', dkim: false, spf: false, spfDomain: '' },
      ],
    })
  })

  test('adds up records that say the same', async () => {
    const { rows } = await readOne(dmarcXml([{ count: 2 }, { count: 3 }, { ip: '192.0.2.2' }, { count: 5 }]))
    expect(rows.map(({ sourceIp, messages }) => [sourceIp, messages])).toEqual([
      ['192.0.2.1', 10],
      ['192.0.2.2', 1],
    ])
  })

  test.each([
    ['plain', (xml: string) => Buffer.from(xml)],
    ['in gzip', (xml: string) => gzipSync(xml)],
    [
      'in gzip with a line end behind it',
      (xml: string) => Buffer.concat([gzipSync(xml), Buffer.from('\r\n')]),
    ],
    ['in gzip twice', (xml: string) => gzipSync(gzipSync(xml))],
    ['in zip', (xml: string) => zip([Buffer.from(xml)])],
    ['in gzip in zip', (xml: string) => zip([gzipSync(xml)])],
    ['with Windows line ends', (xml: string) => Buffer.from(xml.replaceAll('\n', '\r\n'))],
    ['with a mark of UTF-8', (xml: string) => Buffer.from(`\u{FEFF}${xml}`)],
    ['in UTF-16', (xml: string) => Buffer.from(`\u{FEFF}${xml}`, 'utf16le')],
    ['that lies about UTF-16', (xml: string) => Buffer.from(xml.replace('UTF-8', 'UTF-16'))],
    ['with an unknown encoding', (xml: string) => Buffer.from(xml.replace('UTF-8', 'x-nonsense'))],
    [
      'with the namespace of RFC 9990',
      (xml: string) =>
        Buffer.from(xml.replace('<feedback>', '<feedback xmlns="urn:ietf:params:xml:ns:dmarc-2.0">')),
    ],
    [
      'with prefixes',
      (xml: string) =>
        Buffer.from(
          xml
            .replaceAll(/<(\/?)(\w)/g, '<$1ns0:$2')
            .replace('<ns0:feedback>', '<ns0:feedback xmlns:ns0="x">'),
        ),
    ],
    [
      'with a schema tag that is never closed',
      (xml: string) => Buffer.from(xml.replace('<feedback>', '<xs:schema xmlns:xs="x"><feedback>')),
    ],
    [
      'with an address in angle brackets',
      (xml: string) => Buffer.from(xml.replace(/<email>(.*)<\/email>/, '<email><$1></email>')),
    ],
    [
      'with an ampersand as it is',
      (xml: string) =>
        Buffer.from(xml.replace('<version>', '<extra_contact_info>a&b?c=d&e</extra_contact_info>')),
    ],
    ['in one line', (xml: string) => Buffer.from(xml.replaceAll(/\n\s*/g, ''))],
    [
      'in upper case',
      (xml: string) => Buffer.from(xml.replaceAll(/<[^?>]*>|pass|none/g, (word) => word.toUpperCase())),
    ],
    ['with something behind it', (xml: string) => Buffer.from(`${xml}${dmarcXml([{}], { id: 'another' })}`)],
  ])('is read %s', async (_, pack) => {
    const report = await readOne(pack(dmarcXml()))
    expect(report).toMatchObject({ reporter: 'google.com', policyDomain: 'acme.test' })
    expect(report.rows).toMatchObject([row])
  })

  test('in ISO 8859-1 keeps its letters', async () => {
    const xml = dmarcXml([], { reporter: 'Bücher' }).replace('UTF-8', 'iso-8859-1')
    expect((await readOne(Buffer.from(xml, 'latin1'))).reporter).toBe('Bücher')
  })

  test.each([
    [
      'without org_name: the domain of its address',
      /<org_name>.*<\/org_name>/,
      '',
      { reporter: 'google.com' },
    ],
    [
      'without an id: its time',
      /<report_id>.*<\/report_id>/,
      '',
      { reportId: '1764028800000-1764115199000' },
    ],
    ['without an end', /<end>.*<\/end>/, '', { endMs: 1764028800_000 }],
    [
      'with a time in milliseconds',
      /<begin>.*<\/begin>/,
      '<begin>1764028800000</begin>',
      { beginMs: 1764028800_000 },
    ],
    [
      'with a time as text',
      /<begin>.*<\/begin>/,
      '<begin>2025-11-25T00:00:00</begin>',
      { beginMs: 1764028800_000 },
    ],
    ['with `identities` for `identifiers`', /identifiers/g, 'identities', {}],
    ['with disposition pass (RFC 9990)', '<disposition>none', '<disposition>pass', { rows: [row] }],
    [
      'without results of alignment: by the domains',
      /<dkim>.*?<spf>pass<\/spf>/,
      '',
      { rows: [{ ...row, dkim: false }] },
    ],
    [
      'with the name of an unknown element',
      '<row>',
      '<row><extension><source_ip>nonsense</source_ip></extension>',
      { rows: [row] },
    ],
    [
      'that names the forwarder',
      '</policy_evaluated>',
      '<reason><type>Forwarded</type><comment/></reason></policy_evaluated>',
      { rows: [{ ...row, override: 'forwarded' }] },
    ],
    ['with IPv4 in IPv6', '192.0.2.1', '::ffff:192.0.2.1', { rows: [row] }],
  ])('is read %s', async (_, part, by, expected) => {
    expect(await readOne(dmarcXml().replace(part, by))).toMatchObject(expected)
  })

  test.each([
    ['no source', /<source_ip>.*?<\/source_ip>/],
    ['a source that is no address', '192.0.2.1', 'localhost'],
    ['no count', /<count>.*?<\/count>/],
    ['a negative count', '<count>1', '<count>-1'],
    ['a count beyond belief', '<count>1', '<count>99999999999'],
  ])('leaves out a record with %s', async (_, part, by = '') => {
    expect((await readOne(dmarcXml().replace(part, by))).rows).toEqual([])
  })

  test.each([
    ['', /end of <feedback> is missing/],
    ['unused', /end of <feedback> is missing/],
    [dmarcXml().slice(0, -20), /end of <feedback> is missing/],
    [dmarcXml().replace(/<domain>.*?<\/domain>/, ''), /which domain/],
    [dmarcXml().replace(/<begin>.*<\/begin>/, ''), /which time/],
    [dmarcXml([], { begin: 5, end: 4 }), /which time/],
    [dmarcXml().replace(/<org_name>.*<\/email>/s, ''), /who made it/],
  ])('that lacks what a sum needs is none: %#', (xml, fault) => expectFault(xml, fault))

  test('expands no entities of its own', async () => {
    const entities = `<!DOCTYPE feedback [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;"><!ENTITY x SYSTEM "file:///etc/passwd">]><feedback>`
    const xml = dmarcXml([], { reporter: '&b;&x;' }).replace('<feedback>', entities)
    expect((await readOne(xml)).reporter).toBe('&b;&x;')
  })
})

describe('a TLS report', () => {
  const failures = [
    {
      'result-type': 'certificate-expired',
      'receiving-mx-hostname': 'MX1.acme.test',
      'failed-session-count': 100,
    },
    {
      'result-type': 'certificate-expired',
      'receiving-mx-hostname': 'mx1.acme.test',
      'failed-session-count': 2,
    },
    { 'result-type': 'starttls-not-supported', 'failed-session-count': 3 },
  ]
  const whole = {
    kind: 'tls',
    reporter: 'Example Inc.',
    reportId: 'tls-1',
    beginMs: Date.parse('2025-11-25T00:00:00Z'),
    endMs: Date.parse('2025-11-25T23:59:59Z'),
    policies: [
      {
        policyType: 'sts',
        policyDomain: 'acme.test',
        succeeded: 5,
        failed: 105,
        failures: [
          { result: 'certificate-expired', mx: 'mx1.acme.test', sessions: 102 },
          { result: 'starttls-not-supported', mx: '', sessions: 3 },
        ],
      },
    ],
  }

  test.each([
    ['plain', (json: string) => Buffer.from(json)],
    ['in gzip', (json: string) => gzipSync(json)],
    ['with a mark of UTF-8 and blanks before it', (json: string) => Buffer.from(`\u{FEFF} \r\n${json}`)],
  ])('is read whole, %s', async (_, pack) => {
    expect(await read(pack(tlsJson(failures)))).toEqual({ reports: [whole], faults: [] })
  })

  test('tells of failures that only its summary knows', async () => {
    const json = tlsJson(failures).replace(
      '"total-failure-session-count":105',
      '"total-failure-session-count":110',
    )
    const { reports } = await read(json)
    expect(reports).toMatchObject([
      { policies: [{ failed: 110, failures: [{}, {}, { result: 'unspecified', sessions: 5 }] }] },
    ])
  })

  test.each([
    ['{"policies":{}}', /no policies/],
    ['{', /no TLS report/],
    [`{"a":${'['.repeat(100_000)}`, /no TLS report/],
    [tlsJson().replace('"Example Inc."', '7').replace('tls@example.com', ''), /who made it/],
    [tlsJson().replaceAll('2025-11-25', 'yesterday'), /which time/],
  ])('that lacks what a sum needs is none: %#', (json, fault) => expectFault(json, fault))

  test('with nonsense for values is read without them', async () => {
    const json = tlsJson([{ 'failed-session-count': '3', 'result-type': ['x'] }]).replace('"sts"', 'null')
    expect((await read(json)).reports).toMatchObject([
      {
        policies: [
          { policyType: 'no-policy-found', failed: 3, failures: [{ result: 'unspecified', sessions: 3 }] },
        ],
      },
    ])
  })
})

test('several reports in one archive, and several attachments, are all read, whatever is between them', async () => {
  const xml = (id: string) => Buffer.from(dmarcXml([{}], { id }))
  const { reports, faults } = await read('Hello', zip([xml('a'), Buffer.from('readme'), xml('b')]), tlsJson())
  expect(reports.map(({ kind, reportId }) => `${kind} ${reportId}`)).toEqual([
    'dmarc a',
    'dmarc b',
    'tls tls-1',
  ])
  expect(faults).toHaveLength(2)
})

describe('what is hostile', () => {
  const zeros = Buffer.alloc(8 * 2 ** 20)
  /** Zeros for as long as anybody reads, in a few KB: a piece of a deflated stream, again and again. */
  const bomb = (files: number) => {
    const packed = deflateRawSync(zeros)
    return zip(Array.from({ length: files }, () => ({ packed, size: zeros.length, crc: 0 })))
  }
  const elements = (count: number) => `<feedback>${'<a>'.repeat(count)}`

  test.each([
    ['gzip that unpacks to 8 MB', () => gzipSync(zeros), /times its size|too long/],
    ['zip that unpacks to 8 MB', () => bomb(1), /times its size|too long/],
    [
      'zip with too many files',
      () => zip(Array.from({ length: 11 }, () => Buffer.from('x'))),
      /more than 10 files/,
    ],
    ['gzip in gzip that unpacks to 8 MB', () => gzipSync(gzipSync(zeros)), /times its size|too long/],
    ['gzip three deep', () => gzipSync(gzipSync(gzipSync(dmarcXml()))), /more than twice/],
    ['an archive in an archive', () => zip([bomb(1)]), /archive in an archive/],
    ['an archive in gzip', () => gzipSync(bomb(1)), /archive in an archive/],
    [
      'a file longer than it says',
      () => zip([{ packed: deflateRawSync(dmarcXml()), size: 5, crc: 0 }]),
      /cannot be unpacked/,
    ],
    ['gzip cut off', () => gzipSync(dmarcXml()).subarray(0, 100), /cannot be unpacked/],
    ['an archive cut off', () => zip([Buffer.from(dmarcXml())]).subarray(0, 100), /cannot be unpacked/],
    ['two million open elements', () => gzipSync(elements(2e6), { level: 1 }), /deep/],
    ['elements without end', () => elements(5e4), /40 deep/],
    ['elements beside each other', () => `<feedback>${'<a></a>'.repeat(5e4)}`, /500 elements/],
    ['elements in a record', () => `<feedback><record>${'<a/>'.repeat(5e4)}`, /500 elements/],
    ['records in a record', () => `<feedback>${'<record><a/>'.repeat(5e4)}`, /40 deep/],
    ['comments', () => `<feedback>${'<!--a-->'.repeat(5e4)}`, /500 elements/],
    ['instructions', () => `<feedback>${'<?a?>'.repeat(5e4)}`, /500 elements/],
    ['references to entities', () => `<feedback>${'&nosuch;'.repeat(5e4)}`, /too long/],
    [
      'an element with attributes without end',
      () => `<feedback ${Array.from({ length: 5e4 }, (_, i) => `a${i}="" `).join('')}`,
      /100 attributes/,
    ],
    ['an element with one attribute without end', () => `<feedback ${'a="" '.repeat(2e5)}`, /too long/],
    ['a name without end', () => `<${'a'.repeat(4e5)}`, /no XML/],
    ['a comment without end', () => `<feedback><!--${'a'.repeat(4e5)}`, /no XML/],
    ['a text without end', () => `<feedback>${'a'.repeat(4e5)}`, /too long/],
    ['a script', () => `<feedback><script>${'<a>'.repeat(2e5)}`, /40 deep/],
    ['end tags without start', () => `<feedback>${'</a>'.repeat(2e5)}`, /too long/],
    ['TLS reports without end', () => `{"policies":[${'1,'.repeat(3e6)}1]}`, /longer than 4194304/],
  ])('%s is refused', async (_, make, fault) => {
    await expectFault(make(), fault)
  })

  test('records without number become few rows, and none is lost', async () => {
    const records = Array.from({ length: 7_000 }, (_, i) => ({
      ip: `10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`,
    }))
    const { rows } = await readOne(dmarcXml(records))
    expect(rows).toHaveLength(5_001)
    expect(rows.reduce((sum, { messages }) => sum + messages, 0)).toBe(7_000)
    expect(rows.at(-1)).toMatchObject({ sourceIp: '', messages: 2_000, dkim: true })
  })

  test('a long report leaves whatever else there is its turn', async () => {
    const records = Array.from({ length: 5_000 }, (_, i) => ({ ip: `10.0.${i >> 8}.${i & 255}` }))
    const [xml, before] = [dmarcXml(records), { turns: 0 }]
    const timer = setInterval(() => {
      before.turns += 1
    }, 0)
    await readOne(xml)
    clearInterval(timer)
    expect(before.turns).toBeGreaterThan(xml.length / 2 ** 16 / 4)
  })

  test('any damage to a report is survived, and read or refused', async () => {
    let seed = 7
    const random = (below: number) => {
      seed = (Math.imul(seed, 1_103_515_245) + 12_345) & 0x7fffffff
      return seed % below
    }
    const packed = [dmarcXml(), tlsJson(), gzipSync(dmarcXml()), zip([Buffer.from(dmarcXml())])]
    for (let round = 0; round < 600; round += 1) {
      const octets = Buffer.from(packed[round % packed.length] ?? '')
      for (let i = random(12); i >= 0; i -= 1) octets[random(octets.length)] = random(256)
      const cut = random(4) === 0 ? octets.subarray(0, random(octets.length)) : octets
      const { reports, faults } = await read(cut)
      expect(reports.length + faults.length).toBeGreaterThan(0)
      JSON.stringify(reports)
    }
  })

  test('texts hold no control characters, no halves of characters, and no more than is shown', async () => {
    const json = tlsJson([{ 'result-type': `a\u0000\ud800${'b'.repeat(500)}`, 'failed-session-count': 1 }], {
      reporter: `x\u0000y\u202e`,
    })
    const { reports } = await read(json)
    expect(reports[0]?.reporter.startsWith('x y')).toBe(true)
    const text = JSON.stringify(reports)
    expect(text).not.toMatch(/\\u0000|\\ud800|b{60}/)
  })
})
