import { decode, encode, type OptAnswer, type Packet } from 'dns-packet'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  encodeQuery,
  MAX_REPLY_BYTES,
  type Query,
  RCODE,
  type Reading,
  readReply,
  recordData,
  UDP_SIZE,
} from './wire.ts'

const query = encodeQuery({ name: 'example.test', type: 'MX' }, 4711, true)

function reply(packet: Packet, to: Query = query): Buffer {
  return encode({
    type: 'response',
    id: to.id,
    flags: 0x180,
    questions: [{ name: to.name, type: to.type }],
    ...packet,
  })
}

const isRead = (reading: Reading) => typeof reading === 'object'

describe('a question', () => {
  test('asks for recursion and for AD, and takes what fits a path', () => {
    const asked = decode(query.bytes)
    expect(asked).toMatchObject({ id: 4711, flag_qr: false, flag_rd: true, flag_ad: true, flag_cd: false })
    expect(asked.questions).toEqual([{ name: 'example.test', type: 'MX', class: 'IN' }])
    expect(asked.additionals).toMatchObject([{ type: 'OPT', udpPayloadSize: UDP_SIZE, flag_do: true }])
  })

  test('can do without EDNS', () => {
    const plain = encodeQuery({ name: 'example.test', type: 'A' }, 1, false)
    expect(decode(plain.bytes).additionals).toEqual([])
  })
})

describe('a reply', () => {
  test("under another id, or too short to have one, is somebody else's", () => {
    expect(readReply(reply({ id: 4712 }), query)).toBe('foreign')
    expect(readReply(Buffer.alloc(1), query)).toBe('foreign')
    expect(readReply(reply({}).subarray(0, 11), query)).toBe('nonsense')
  })

  test.each([
    ['another name', { questions: [{ name: 'example.org', type: 'MX' }] }],
    ['another type', { questions: [{ name: 'example.test', type: 'A' }] }],
    ['another class', { questions: [{ name: 'example.test', type: 'MX', class: 'CH' }] }],
    ['no question', { questions: [] }],
    [
      'two questions',
      {
        questions: [
          { name: 'example.test', type: 'MX' },
          { name: 'b.test', type: 'MX' },
        ],
      },
    ],
    ['a question itself', { type: 'query' }],
  ] as [string, Packet][])('to %s is nonsense', (_, packet) => {
    expect(readReply(reply(packet), query)).toBe('nonsense')
  })

  test('that refuses may leave the question away', () => {
    const refusal = reply({ questions: [], flags: 0x180 | RCODE.refused })
    expect(readReply(refusal, query)).toMatchObject({ rcode: RCODE.refused })
  })

  test('may spell the name as it likes', () => {
    expect(isRead(readReply(reply({ questions: [{ name: 'eXample.TEST', type: 'MX' }] }), query))).toBe(true)
  })

  test('has the high bits of its code in the OPT record (RFC 6891 §6.1.3)', () => {
    const opt: OptAnswer = {
      type: 'OPT',
      name: '.',
      udpPayloadSize: 512,
      extendedRcode: 1,
      ednsVersion: 0,
      flags: 0,
      flag_do: false,
      options: [],
    }
    expect(readReply(reply({ additionals: [opt] }), query)).toMatchObject({ rcode: 16 })
  })

  test('is negative for the lesser of the two times of its SOA (RFC 2308 §5)', () => {
    const soa = (ttl: number, minimum: number) =>
      reply({
        authorities: [
          { type: 'SOA', name: 'test', ttl, data: { mname: 'a.test', rname: 'b.test', minimum } },
        ],
      })
    expect(readReply(soa(60, 3600), query)).toMatchObject({ negativeTtl: 60 })
    expect(readReply(soa(3600, 30), query)).toMatchObject({ negativeTtl: 30 })
    expect(readReply(soa(2 ** 31, 30), query)).toMatchObject({ negativeTtl: 0 })
    expect(readReply(reply({}), query)).toMatchObject({ negativeTtl: null })
  })

  test('survives the records that DNSSEC adds', () => {
    const rrsig = {
      typeCovered: 'MX',
      algorithm: 13,
      labels: 2,
      originalTTL: 60,
      expiration: 2 ** 31,
      inception: 1,
      keyTag: 1,
      signersName: 'test',
      signature: Buffer.alloc(64, 7),
    }
    const bytes = reply({
      answers: [
        { type: 'MX', name: 'example.test', ttl: 60, data: { preference: 10, exchange: 'a.test' } },
        { type: 'RRSIG', name: 'example.test', ttl: 60, data: rrsig },
      ],
      authorities: [
        {
          type: 'NSEC',
          name: 'test',
          ttl: 60,
          data: { nextDomain: 'z.test', rrtypes: ['A', 'MX', 'NSEC', 'RRSIG', 'UNKNOWN_1234'] },
        },
        {
          type: 'NSEC3',
          name: 'abc.test',
          ttl: 60,
          data: {
            algorithm: 1,
            flags: 1,
            iterations: 0,
            salt: Buffer.alloc(0),
            nextDomain: Buffer.alloc(20, 1),
            rrtypes: ['A', 'RRSIG'],
          },
        },
        {
          type: 'DS',
          name: 'test',
          ttl: 60,
          data: { keyTag: 1, algorithm: 13, digestType: 2, digest: Buffer.alloc(32, 1) },
        },
      ],
    })
    const read = readReply(bytes, query)
    expect(isRead(read) && read.answers.flatMap((record) => recordData('MX', record) ?? [])).toEqual([
      { exchange: 'a.test', priority: 10 },
    ])
  })
})

describe('whatever arrives', () => {
  /** Reads as the resolver does, and returns whether nothing was thrown and all that came out is of its kind. */
  function isSurvived(bytes: Buffer): boolean {
    const read = readReply(bytes, query)
    if (!isRead(read)) return true
    for (const record of (read as Exclude<Reading, string>).answers) {
      for (const type of ['A', 'AAAA', 'MX', 'TXT', 'TLSA', 'CNAME', 'PTR'] as const) recordData(type, record)
    }
    return true
  }

  const good = reply({
    answers: [
      { type: 'CNAME', name: 'example.test', ttl: 60, data: 'b.test' },
      { type: 'MX', name: 'b.test', ttl: 60, data: { preference: 10, exchange: 'mx.b.test' } },
      { type: 'A', name: 'mx.b.test', ttl: 60, data: '192.0.2.1' },
      { type: 'AAAA', name: 'mx.b.test', ttl: 60, data: '2001:db8::1' },
      { type: 'TXT', name: 'b.test', ttl: 60, data: ['some', 'text'] },
      {
        type: 'TLSA',
        name: 'b.test',
        ttl: 60,
        data: { usage: 3, selector: 1, matchingType: 1, certificate: Buffer.alloc(32) },
      },
    ],
    authorities: [
      { type: 'SOA', name: 'test', ttl: 60, data: { mname: 'a.test', rname: 'b.test', minimum: 60 } },
    ],
    additionals: [
      {
        type: 'OPT',
        name: '.',
        udpPayloadSize: 512,
        extendedRcode: 0,
        ednsVersion: 0,
        flags: 0,
        flag_do: true,
        options: [{ code: 12, length: 9 }],
      },
    ],
  })

  test('random octets under the right id', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 2_000 }), (tail) =>
        isSurvived(Buffer.concat([query.bytes.subarray(0, 2), tail])),
      ),
      { numRuns: 2_000 },
    )
  })

  test('random records behind the right question', () => {
    const head = reply({}).subarray()
    const counts = fc.tuple(fc.nat(40), fc.nat(40), fc.nat(40))
    fc.assert(
      fc.property(counts, fc.uint8Array({ maxLength: 1_200 }), (count, tail) => {
        const bytes = Buffer.concat([head, tail])
        for (const [at, value] of count.entries()) bytes.writeUInt16BE(value, 6 + 2 * at)
        return isSurvived(bytes)
      }),
      { numRuns: 2_000 },
    )
  })

  test('good replies with some octets changed, and cut anywhere', () => {
    const changes = fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { minLength: 1, maxLength: 8 })
    fc.assert(
      fc.property(changes, fc.nat(good.length), (list, end) => {
        const bytes = Buffer.from(good)
        for (const [at, value] of list) bytes[at] = value
        return isSurvived(bytes) && isSurvived(bytes.subarray(0, end))
      }),
      { numRuns: 3_000 },
    )
    for (let end = 0; end <= good.length; end += 1) isSurvived(good.subarray(0, end))
  })

  test('counts that the octets cannot hold are not believed, where the decoder would read the header as records', () => {
    const first = encodeQuery({ name: 'example.test', type: 'MX' }, 0, true)
    const textWithoutOctets = Buffer.from('00001000010000003c0005', 'hex')
    const bytes = Buffer.concat([reply({}, first), textWithoutOctets])
    bytes.writeUInt16BE(0xffff, 6)
    expect(readReply(bytes, first)).toBe('nonsense')
  })

  test('more octets than any answer needs are not read', () => {
    const bytes = Buffer.concat([reply({}), Buffer.alloc(MAX_REPLY_BYTES)])
    expect(readReply(bytes, query)).toBe('nonsense')
  })

  test('the most pointers that fit into a reply are read in far less than the deadline of a look-up', () => {
    const bytes = pointerMaze()
    const before = process.threadCpuUsage()
    expect(isSurvived(bytes)).toBe(true)
    const { user, system } = process.threadCpuUsage(before)
    expect((user + system) / 1_000).toBeLessThan(1_000) // 65 ms of the processor
  })

  /** One record full of pointers, each to the one before, and then as many names as fit, each through all of them. */
  function pointerMaze(): Buffer {
    const bytes = Buffer.alloc(MAX_REPLY_BYTES)
    const start = reply({}).copy(bytes) + 11
    const end = 0x3ffe
    bytes.writeUInt16BE(999, start - 10)
    bytes.writeUInt16BE(end - start, start - 2)
    let last = start
    for (let at = start + 1; at + 1 < end; last = at, at += 2) bytes.writeUInt16BE(0xc000 | last, at)
    let count = 1
    for (let at = end; at + 16 <= bytes.length; at += 16, count += 1) {
      for (const [offset, value] of [
        [0, 0xc000 | last],
        [2, 15],
        [4, 1],
        [10, 4],
        [14, 0xc000 | last],
      ] as const) {
        bytes.writeUInt16BE(value, at + offset)
      }
    }
    bytes.writeUInt16BE(count, 6)
    return bytes
  }
})
