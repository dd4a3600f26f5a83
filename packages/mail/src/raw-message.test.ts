import { Buffer } from 'node:buffer'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Parsed } from './address.ts'
import {
  type CheckedRaw,
  checkedSizeBytes,
  checkRaw,
  identifyRaw,
  type RawDefaults,
  type RawMessage,
  redateRaw,
} from './raw-message.ts'

const defaults = { messageId: '<ours@a.test>', date: new Date('2026-11-23T10:00:00Z') }
const ID = 'Message-ID: <x@a.test>'
const DATE = 'Date: Mon, 2 Nov 2026 10:00:00 +0100'
/** Both halves, one behind the other. */
function prepareRaw(input: Buffer, given: RawDefaults): Parsed<CheckedRaw & RawMessage> {
  const checked = checkRaw(input)
  return checked.ok
    ? { ok: true, value: { ...checked.value, ...identifyRaw(checked.value, given) } }
    : checked
}
const prepare = (...lines: string[]) => prepareRaw(Buffer.from(lines.join('\r\n')), defaults)
const bytesOf = (...lines: string[]) => {
  const result = prepare(...lines)
  if (!result.ok) throw new Error(result.message)
  return result.value.bytes.toString()
}
const messageOf = (...lines: string[]) => {
  const result = prepare(...lines)
  return result.ok ? null : result.message
}

describe('what is kept and what is changed', () => {
  it('a proper message stays byte for byte', () => {
    const lines = [
      'From: a@a.test',
      'X-odd:\ta  b ',
      ' folded\t',
      'subject:',
      ID,
      DATE,
      '',
      '',
      ' body\t ',
      'end',
    ]
    expect(bytesOf(...lines)).toBe(lines.join('\r\n'))
    expect(bytesOf(...lines, '', '')).toBe([...lines, '', ''].join('\r\n'))
  })

  it('fields of earlier hops and hidden recipients go, with their folded lines, in any case and number', () => {
    const kept = ['From: a@a.test', 'X-Bcc: stays', ID, DATE, '', 'Bcc: in the body stays']
    const gone = [
      'RETURN-PATH: <a@b.test>',
      'Received: from x',
      '\tby y',
      'DKIM-Signature: v=1;',
      ' b=x',
      'bcc: v@v.test,',
      ' w@w.test',
    ]
    expect(bytesOf(...gone, 'Resent-Bcc: z@z.test', 'DKIM-SIGNATURE: v=1', ...kept)).toBe(kept.join('\r\n'))
  })

  it('LF line ends become CRLF, also mixed', () => {
    const result = prepareRaw(Buffer.from(`From: a@a.test\n${ID}\r\n${DATE}\n\nx\r\ny\n`), defaults)
    expect(result.ok && result.value.bytes.toString()).toBe(
      `From: a@a.test\r\n${ID}\r\n${DATE}\r\n\r\nx\r\ny\r\n`,
    )
  })

  it('a missing or unusable Message-ID and Date are replaced, valid ones stay', () => {
    for (const id of [
      'Message-ID: x',
      'Message-ID: <a b@c>',
      'Message-ID: <>',
      'Message-ID: <a@b> <c@d>',
      'X: y',
    ]) {
      const result = prepare('From: a@a.test', id, 'Date: yesterday', '', 'x')
      expect(result).toMatchObject({ ok: true, value: { messageId: defaults.messageId, hasDate: false } })
      const text = result.ok ? result.value.bytes.toString() : ''
      expect(text.match(/^Message-ID: .*$/gm)).toEqual(['Message-ID: <ours@a.test>'])
      expect(text.match(/^Date: .*$/gm)).toEqual(['Date: Mon, 23 Nov 2026 10:00:00 +0000'])
    }
    expect(prepare('From: a@a.test', ID, DATE)).toMatchObject({
      value: { messageId: '<x@a.test>', hasDate: true },
    })
  })

  it('of two Message-IDs the first valid one stays', () => {
    expect(bytesOf('Message-ID: bad', ID, 'Message-ID: <y@a.test>', 'From: a@a.test', DATE, '', '')).toBe(
      [ID, 'From: a@a.test', DATE, '', ''].join('\r\n'),
    )
  })

  it.each([
    '2 Nov 2026 10:00 GMT',
    'Thu, 13 Feb 1969 23:32:54 -0330',
    'Mon, 2 Nov 2026 10:00:00 +0100 (CET)',
    'Mon, 32 Nov 2026 10:00:00 +0000',
  ])('knows whether %s is a date', (value) => {
    const isValid = !/1969|32/.test(value)
    expect(bytesOf('From: a@a.test', ID, `Date: ${value}`, '', '').includes(value)).toBe(isValid)
  })

  it('a header without a body is a message', () => {
    expect(bytesOf('From: a@a.test', ID, DATE)).toBe(`From: a@a.test\r\n${ID}\r\n${DATE}\r\n\r\n`)
  })

  it('subject is decoded and unfolded', () => {
    const subject = ['Subject: =?utf-8?Q?J=C3=BCri?=', ' =?utf-8?B?w7U=?= x']
    expect(prepare('From: a@a.test', ...subject, '', '')).toMatchObject({ value: { subject: 'Jüriõ x' } })
  })
})

describe('From', () => {
  it.each([
    ['a@a.test', null],
    ['Ann Lee <a@a.test>', 'Ann Lee'],
    ['"Lee, Ann" <a@a.test>', 'Lee, Ann'],
    ['"v@evil.test" <a@a.test>', 'v@evil.test'],
    ['=?utf-8?Q?J=C3=BCri?= <a@a.test>', 'Jüri'],
    ['a@a.test (Ann)', 'Ann'],
    ['Ann (v@evil.test) <a@A.test>', 'Ann'],
    ['Ann\r\n <a@a.test>', 'Ann'],
  ])('%j holds one address', (value, name) => {
    expect(prepare(`From: ${value}`, '', '')).toMatchObject({
      ok: true,
      value: { from: { address: { email: 'a@a.test' } }, sender: null },
    })
    if (name !== 'Ann') expect(prepare(`From: ${value}`, '', '')).toMatchObject({ value: { from: { name } } })
  })

  it.each([
    '',
    'Ann',
    'a@a.test, v@evil.test',
    'v@evil.test <a@a.test>',
    '<a@a.test> <v@evil.test>',
    'a@a.test <v@evil.test>, ',
    'Ann <a@a.test',
    'Team: a@a.test;',
    '<@evil.test:a@a.test>',
    '"Ann <a@a.test>',
    'Ann (x <a@a.test>',
    'Ann) <a@a.test>',
    'a@a.test@evil.test',
    '<a@(x)evil.test>b',
    '=?utf-8?Q?v=40evil.test=3C?= , <a@a.test>',
    '"a b"@a.test',
    'a@[127.0.0.1]',
    'a@localhost',
    'Ann a@a.test',
    '"Ann" a@a.test',
    'a()@a.test',
    '<a@a.(x)test>',
    '<a@a.test(x)>',
    '<(x)a@a.test>',
    '<a(x)@a.test>',
    'a\\ <a@a.test>',
    '[ <a@a.test>',
    'a@a.test.',
    '=?utf-8?Q?v=40evil.test=3E?=@a.test',
    '=?utf-8?Q?v=40evil.test?= a@a.test',
  ])('%j is refused', (value) => expect(messageOf(`From: ${value}`, '', '')).toMatch(/^The From field/))

  it('must be there, once', () => {
    expect(messageOf('To: a@a.test', '', '')).toMatch(/no From/)
    expect(messageOf('From: a@a.test', 'FROM: a@a.test', '', '')).toMatch(/"from" occurs more than once/)
    expect(messageOf('From: a@a.test', 'Subject: x', 'subject: y', '', '')).toMatch(/"subject"/)
  })

  it('Sender is read by the same rule', () => {
    expect(prepare('From: a@a.test', 'Sender: s@b.test', '', '')).toMatchObject({
      value: { sender: { address: { email: 's@b.test' } } },
    })
    expect(messageOf('From: a@a.test', 'Sender: s@b.test, t@b.test', '', '')).toMatch(/^The Sender field/)
  })

  it('in UTF-8 makes SMTPUTF8 necessary', () => {
    expect(prepare('From: ü@a.test', '', '')).toMatchObject({ value: { needsSmtpUtf8: true } })
    expect(prepare('From: a@a.test', '', 'ü')).toMatchObject({ value: { needsSmtpUtf8: false } })
  })
})

describe('what is refused', () => {
  const F = 'From: a@a.test'
  it.each([
    ['', /empty/],
    ['\r\nbody', /no header/],
    ['hello', /line 1 is not of the form/],
    [`${F}\r\nbroken\r\n\r\n`, /line 2 is not of the form/],
    [`${F}\r\n: x\r\n\r\n`, /line 2/],
    [`${F}\r\nSubject : x\r\n\r\n`, /line 2/],
    [` ${F}\r\n\r\n`, /white space/],
    [`${F}\r\n \t\r\nX: y\r\n\r\n`, /only white space/],
    [`From me Mon Nov 2\r\n${F}\r\n\r\n`, /mbox/],
    [`${F}\r\n\r\na\rb`, /Line 3 holds a CR/],
    [`${F}\r\r\n\r\n`, /Line 1 holds a CR/],
    [`${F}\r\n\r\nx\r`, /Line 3 holds a CR/],
    [`${F}\r\n\r\na\0b`, /NUL/],
    [`${F}\r\n\r\n${'x'.repeat(999)}`, /Line 3 is 999 octets/],
    [`${F}\nX: ${'x'.repeat(996)}\n\n`, /Line 2 is 999 octets/],
    [`${F}\n${'X: y\n'.repeat(200_000)}\n`, /header is larger/],
  ])('%.40j', (text, advice) => {
    const result = prepareRaw(Buffer.from(text), defaults)
    expect(result.ok ? null : result.message).toMatch(advice)
  })

  it('octets in the header that are not UTF-8', () => {
    const result = prepareRaw(Buffer.from(`${F}\r\nSubject: \xe9\r\n\r\n`, 'latin1'), defaults)
    expect(result).toMatchObject({ ok: false, message: expect.stringContaining('UTF-8') })
  })

  it('a line of 998 octets is not', () => {
    expect(prepareRaw(Buffer.from(`${F}\r\n\r\n${'x'.repeat(998)}`), defaults).ok).toBe(true)
  })
})

describe('properties', () => {
  const piece = fc.constantFrom(
    'From: a@a.test',
    'Bcc: v@v.test',
    ' folded',
    '\t',
    '\r\n',
    '\n',
    '\r',
    '\0',
    ':',
    'X',
    'X: y',
    'é',
    '.',
    ' ',
    'Received: x',
    '<',
    '"',
    ',',
  )
  it('what comes out holds CRLF only, no removed field, and prepares to itself', () => {
    let accepted = 0
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 12 }), (parts) => {
        const result = prepareRaw(Buffer.from(`From: a@a.test\r\n${parts.join('')}`), defaults)
        if (!result.ok) return
        accepted++
        const { bytes } = result.value
        expect(bytes.toString().replaceAll('\r\n', '')).not.toMatch(/[\r\n\0]/)
        expect(bytes.toString().split('\r\n\r\n')[0]).not.toMatch(/^(?:bcc|received):/im)
        const again = prepareRaw(bytes, { messageId: '<z@z.test>', date: new Date(0) })
        expect(again.ok && again.value.bytes).toEqual(bytes)
      }),
      { numRuns: 20_000 },
    )
    expect(accepted).toBeGreaterThan(1_000)
  })

  it('a flood of line ends costs no more than other octets', () => {
    const mail = Buffer.from(`From: a@a.test${'\n'.repeat(10_000_000)}`)
    const before = process.threadCpuUsage()
    expect(prepareRaw(mail, defaults).ok).toBe(true)
    const { user, system } = process.threadCpuUsage(before)
    expect((user + system) / 1000).toBeLessThan(2_000)
  })

  it('groups in groups of a From cost no more than other octets', () => {
    const mail = Buffer.from(`From: ${'a:'.repeat(490).concat('\r\n ').repeat(1_000)}a@a.test\r\n\r\n`)
    const before = process.threadCpuUsage()
    expect(prepareRaw(mail, defaults).ok).toBe(false)
    const { user, system } = process.threadCpuUsage(before)
    expect((user + system) / 1000).toBeLessThan(1_000)
  })

  it('takes time in proportion to the length at most', () => {
    for (const unit of ['(', '"', '<', 'a@a.test,', '=?utf-8?Q?a?= ', '\\', '\r\n ', '\n', 'X: y\r\n']) {
      // Of the processor: others may have it meanwhile.
      const before = process.threadCpuUsage()
      prepareRaw(Buffer.from(`From: ${unit.repeat(100_000).replace(/(.{900})/g, '$1\r\n x')}`), defaults)
      const { user, system } = process.threadCpuUsage(before)
      expect((user + system) / 1000).toBeLessThan(2_000)
    }
  })
})

describe('identifyRaw', () => {
  const text = `From: a@a.test\r\n${ID}\r\nX: y\r\n${DATE}\r\n\r\nbody\r\n`
  const checked = (...how: Parameters<typeof checkRaw>) => {
    const result = checkRaw(...how)
    if (!result.ok) throw new Error(result.message)
    return result.value
  }

  it('puts what is to stand ahead before all fields, and may be asked again with another identity', () => {
    const bare = checked(Buffer.from('From: a@a.test\n\nbody'))
    const as = (messageId: string) =>
      identifyRaw(bare, { ...defaults, messageId }, Buffer.from('X: 1\r\n')).bytes.toString()
    for (const id of ['<1@a.test>', '<2@a.test>'])
      expect(as(id)).toBe(
        `X: 1\r\nFrom: a@a.test\r\nMessage-ID: ${id}\r\nDate: Mon, 23 Nov 2026 10:00:00 +0000\r\n\r\nbody`,
      )
  })

  it('makes another mail of one whose identity was dropped', () => {
    const dropped = checked(Buffer.from(text), 'dropped')
    expect(identifyRaw(dropped, defaults)).toEqual({
      messageId: defaults.messageId,
      bytes: Buffer.from(
        'From: a@a.test\r\nX: y\r\nMessage-ID: <ours@a.test>\r\nDate: Mon, 23 Nov 2026 10:00:00 +0000\r\n\r\nbody\r\n',
      ),
    })
  })

  it('leaves a mail with both as long as it was checked to be', () => {
    const kept = checked(Buffer.from(text))
    expect(identifyRaw(kept, defaults).bytes).toHaveLength(checkedSizeBytes(kept))
    expect(checkedSizeBytes(kept)).toBe(text.length)
  })
})

describe('redateRaw', () => {
  const [then, now] = [new Date('2026-01-01T00:00:00Z'), new Date('2026-02-02T00:00:00Z')]
  const prepared = (text: string) => {
    const made = prepareRaw(Buffer.from(text), { messageId: '<x@acme.test>', date: then })
    if (!made.ok) throw new Error(made.message)
    return made.value.bytes
  }
  const redated = (text: string) => redateRaw(prepared(text), [now, then], now)?.toString() ?? null

  it('changes the date that was put in, whichever of those that it may be', () => {
    expect(redated('From: a@b.test\r\n\r\nDate: x\r\n')).toBe(
      'From: a@b.test\r\nMessage-ID: <x@acme.test>\r\nDate: Mon, 02 Feb 2026 00:00:00 +0000\r\n\r\nDate: x\r\n',
    )
    expect(redateRaw(prepared('From: a@b.test\r\n\r\nx\r\n'), [now], now)).toBeNull()
  })

  it('leaves a date of the sender’s own alone, even where it is the same and looks the same', () => {
    expect(redated('Date: Thu, 01 Jan 2026 00:00:00 +0000\r\nFrom: a@b.test\r\n\r\nx\r\n')).toBeNull()
    expect(
      redated(
        'From: a@b.test\r\nX-Date: Thu, 01 Jan 2026 00:00:00 +0000\r\nDate: Fri, 02 Jan 2026 00:00:00 +0000\r\n\r\nx\r\n',
      ),
    ).toBeNull()
  })
})
