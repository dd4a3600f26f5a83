/** Reports as reporters write them, for tests. */
import { constants, crc32, deflateRawSync } from 'node:zlib'

export interface RecordFixture {
  ip?: string
  count?: number | string
  disposition?: string
  dkim?: string
  spf?: string
  headerFrom?: string
  /** Further elements of auth_results. */
  auth?: string
}

/** RFC 7489 appendix C. */
export function dmarcXml(
  records: readonly RecordFixture[] = [{}],
  about: { domain?: string; reporter?: string; id?: string; begin?: number; end?: number } = {},
): string {
  const { domain = 'acme.test', reporter = 'google.com', id = '8293631894893125362' } = about
  const { begin = 1764028800, end = 1764115199 } = about
  return `<?xml version="1.0" encoding="UTF-8" ?>
<feedback>
  <report_metadata>
    <org_name>${reporter}</org_name>
    <email>noreply@${reporter}</email>
    <report_id>${id}</report_id>
    <date_range><begin>${begin}</begin><end>${end}</end></date_range>
  </report_metadata>
  <policy_published>
    <domain>${domain}</domain><adkim>r</adkim><aspf>r</aspf><p>reject</p><sp>reject</sp><pct>100</pct>
  </policy_published>
${records.map((record) => recordXml(record, domain)).join('\n')}
</feedback>
`
}

function recordXml(record: RecordFixture, domain: string): string {
  const { ip = '192.0.2.1', count = 1, disposition = 'none', dkim = 'pass', spf = 'pass' } = record
  return `  <record>
    <row>
      <source_ip>${ip}</source_ip><count>${count}</count>
      <policy_evaluated><disposition>${disposition}</disposition><dkim>${dkim}</dkim><spf>${spf}</spf></policy_evaluated>
    </row>
    <identifiers><header_from>${record.headerFrom ?? domain}</header_from></identifiers>
    <auth_results>${record.auth ?? `<spf><domain>${domain}</domain><result>${spf}</result></spf>`}</auth_results>
  </record>`
}

/** RFC 8460 section 4.4. */
export function tlsJson(
  failures: readonly Record<string, unknown>[] = [],
  about: { domain?: string; reporter?: string; id?: string; day?: string; succeeded?: number } = {},
): string {
  const {
    domain = 'acme.test',
    reporter = 'Example Inc.',
    id = 'tls-1',
    day = '2025-11-25',
    succeeded = 5,
  } = about
  const failed = failures.reduce((sum, failure) => sum + Number(failure['failed-session-count'] ?? 0), 0)
  return JSON.stringify({
    'organization-name': reporter,
    'date-range': { 'start-datetime': `${day}T00:00:00Z`, 'end-datetime': `${day}T23:59:59Z` },
    'contact-info': 'tls@example.com',
    'report-id': id,
    policies: [
      {
        policy: { 'policy-type': 'sts', 'policy-domain': domain, 'mx-host': [`*.${domain}`] },
        summary: { 'total-successful-session-count': succeeded, 'total-failure-session-count': failed },
        'failure-details': failures,
      },
    ],
  })
}

/**
 * A zip archive (APPNOTE.TXT, 4.3).
 *
 * @param files what each holds, or how it is packed
 */
export function zip(
  files: readonly (Buffer | { packed: Buffer; size: number; crc: number })[],
  name = 'r.xml',
): Buffer {
  const [parts, directory]: [Buffer[], Buffer[]] = [[], []]
  let offset = 0
  for (const file of files) {
    const entry = Buffer.isBuffer(file)
      ? { packed: deflateRawSync(file), size: file.length, crc: crc32(file) }
      : file
    const local = Buffer.alloc(30)
    local.writeUInt32LE(0x04034b50)
    local.writeUInt16LE(20, 4)
    local.writeUInt16LE(8, 8)
    local.writeUInt32LE(entry.crc, 14)
    local.writeUInt32LE(entry.packed.length, 18)
    local.writeUInt32LE(entry.size, 22)
    local.writeUInt16LE(name.length, 26)
    const central = Buffer.alloc(46)
    central.writeUInt32LE(0x02014b50)
    central.writeUInt16LE(20, 4)
    local.copy(central, 6, 4, 30)
    central.writeUInt32LE(offset, 42)
    parts.push(local, Buffer.from(name), entry.packed)
    directory.push(central, Buffer.from(name))
    offset += local.length + name.length + entry.packed.length
  }
  const end = Buffer.alloc(22)
  end.writeUInt32LE(0x06054b50)
  end.writeUInt16LE(files.length, 8)
  end.writeUInt16LE(files.length, 10)
  end.writeUInt32LE(Buffer.concat(directory).length, 12)
  end.writeUInt32LE(offset, 16)
  return Buffer.concat([...parts, ...directory, end])
}

/** A mail with a report, as reporters send it (RFC 7489 section 7.2.1.1, RFC 8460 section 5.3). */
export function reportMail(
  to: string,
  content: Buffer,
  kind: 'xml.gz' | 'zip' | 'json.gz' = 'xml.gz',
): string {
  const name = `google.com!acme.test!1764028800!1764115199.${kind}`
  const type = { 'xml.gz': 'application/gzip', zip: 'application/zip', 'json.gz': 'application/tlsrpt+gzip' }[
    kind
  ]
  const lines = [
    'From: noreply-dmarc-support@google.com',
    `To: ${to}`,
    'Subject: Report domain: acme.test Submitter: google.com Report-ID: 8293631894893125362',
    'MIME-Version: 1.0',
    `Content-Type: ${type}; name="${name}"`,
    `Content-Disposition: attachment; filename="${name}"`,
    'Content-Transfer-Encoding: base64',
    '',
    content.toString('base64').replace(/.{76}/g, '$&\r\n'),
  ]
  return lines.join('\r\n')
}

/**
 * A file of `mebibytes` times the same MiB, deflated, without ever being made: blocks that end at an octet can be repeated, and an empty
 * one ends them (RFC 1951 section 3.2.3).
 */
export function deflatedRepeats(start: string, mebibyte: Buffer, mebibytes: number): Buffer {
  const deflate = (part: string | Buffer) => deflateRawSync(part, { finishFlush: constants.Z_FULL_FLUSH })
  const block = deflate(mebibyte)
  return Buffer.concat([
    deflate(start),
    ...Array.from({ length: mebibytes }, () => block),
    Buffer.from([3, 0]),
  ])
}

/** The same as gzip (RFC 1952), with a checksum that nobody comes to. */
export function gzipOf(deflated: Buffer): Buffer {
  return Buffer.concat([Buffer.from([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3]), deflated, Buffer.alloc(8)])
}
