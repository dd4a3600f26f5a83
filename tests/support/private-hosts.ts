/**
 * This machine and other private places, in every spelling that some URL parser, resolver or library takes for an address: what
 * a tenant might write to make us connect to where it cannot.
 */

const LOOPBACK = [127, 0, 0, 1] as const

const hex = (octet: number) => octet.toString(16)
const number = ([a, b, c, d]: readonly number[]) => ((a! * 256 + b!) * 256 + c!) * 256 + d!

/** One IPv4 address as inet_aton and the WHATWG URL parser read it. */
function spellingsOf(address: readonly [number, number, number, number]): string[] {
  const [a, b, c, d] = address
  const all = number(address)
  const octal = (octet: number) => `0${octet.toString(8)}`
  const low = (b * 256 + c) * 256 + d
  return [
    address.join('.'),
    `${address.join('.')}.`,
    `${all}`,
    `0x${hex(all)}`,
    `0X${hex(all).toUpperCase()}`,
    `0${all.toString(8)}`,
    `${a}.${low}`,
    `0x${hex(a)}.${low}`,
    `${a}.${b}.${c * 256 + d}`,
    address.map(octal).join('.'),
    address.map((octet) => `000${octet.toString(8)}`).join('.'),
    address.map((octet) => `0x${hex(octet)}`).join('.'),
    `0x${hex(a)}.${octal(b)}.${c}.0x${hex(d)}`,
    address.map((octet) => encodeURIComponent(`${octet}`).replace(/^./, (digit) => `%3${digit}`)).join('.'),
    address.join('%2e'),
  ]
}

/** The same address inside IPv6 ones. */
function carried(address: readonly [number, number, number, number]): string[] {
  const [a, b, c, d] = address
  const [high, low] = [hex(a * 256 + b), hex(c * 256 + d)]
  const dotted = address.join('.')
  return [
    `[::ffff:${dotted}]`,
    `[::ffff:${high}:${low}]`,
    `[0:0:0:0:0:ffff:${high}:${low}]`,
    `[0000:0000:0000:0000:0000:FFFF:${high}:${low}]`,
    `[::${dotted}]`,
    `[::${high}:${low}]`,
    `[::ffff:0:${dotted}]`,
    `[64:ff9b::${dotted}]`,
    `[64:ff9b::${high}:${low}]`,
    `[64:ff9b:1::${high}:${low}]`,
    `[2002:${high}:${low}::1]`,
    `[2001:0:${high}:${low}::1]`,
    `[fe80::5efe:${dotted}]`,
  ]
}

/** Dots and digits that IDNA maps to those of ASCII; written so that the URL itself is ASCII only where it can be. */
const UNICODE = [
  '１２７.0.0.1',
  '①②⑦.⓪.⓪.①',
  '127。0。0。1',
  '127．0．0．1',
  '127｡0｡0｡1',
  '𝟏𝟐𝟕.𝟎.𝟎.𝟏',
  'ｌｏｃａｌｈｏｓｔ',
  'ⓛⓞⓒⓐⓛⓗⓞⓢⓣ',
  'loc%61lhost',
  '%6c%6f%63%61%6c%68%6f%73%74',
  '%EF%BC%91%EF%BC%92%EF%BC%97.0.0.1',
  '127%E3%80%820.0.1',
]

const NAMES = [
  'localhost',
  'LOCALHOST',
  'localhost.',
  'LocalHost.',
  'foo.localhost',
  'localhost.localdomain',
  'ip6-localhost',
]

const OTHERS = [
  '0',
  '0.0.0.0',
  '0x0',
  '00',
  '0.0.0.1',
  '127.0.0.2',
  '127.127.127.127',
  '127.255.255.254',
  '10.0.0.1',
  '10.255.255.255',
  '172.16.0.1',
  '172.31.255.254',
  '192.168.0.1',
  '169.254.169.254',
  '2852039166',
  '0xa9fea9fe',
  '0251.0376.0251.0376',
  '100.64.0.1',
  '100.100.100.200',
  '192.0.0.1',
  '192.0.2.1',
  '198.18.0.1',
  '198.51.100.1',
  '203.0.113.1',
  '192.88.99.1',
  '224.0.0.1',
  '240.0.0.1',
  '255.255.255.255',
  '[::]',
  '[::1]',
  '[0:0:0:0:0:0:0:1]',
  '[0000:0000:0000:0000:0000:0000:0000:0001]',
  '[::0001]',
  '[fe80::1]',
  '[fe80::1%25lo]',
  '[fe80::1%lo]',
  '[::1%25lo]',
  '[fc00::1]',
  '[fd00::1]',
  '[fd00:ec2::254]',
  '[fec0::1]',
  '[ff02::1]',
  '[100::1]',
  '[2001:db8::1]',
  '[3fff::1]',
  '[5f00::1]',
  '[64:ff9b::a9fe:a9fe]',
  '[2002:a9fe:a9fe::1]',
]

/** As they stand between `//` and the port of a URL. */
export const PRIVATE_HOSTS: readonly string[] = [
  ...new Set([
    ...spellingsOf(LOOPBACK),
    ...spellingsOf([169, 254, 169, 254]).slice(0, 4),
    ...carried(LOOPBACK),
    ...carried([10, 0, 0, 1]).slice(0, 8),
    ...UNICODE,
    ...NAMES,
    ...OTHERS,
  ]),
]

/** Whole URLs whose host is not where it seems to be. */
export const tricks = (port: number): string[] => [
  `http://example.com@127.0.0.1:${port}/`,
  `http://127.0.0.1:${port}@127.0.0.1:${port}/`,
  `http://127.0.0.1:${port}#@example.com/`,
  `http://127.0.0.1:${port}?@example.com/`,
  `http://127.0.0.1:${port}\\@example.com/`,
  `http:127.0.0.1:${port}/`,
  `http:/127.0.0.1:${port}/`,
  `http:\\\\127.0.0.1:${port}/`,
  `http:///127.0.0.1:${port}/`,
  `HTTP://127.0.0.1:${port}/`,
  `http://127.0.0.1:0${port}/`,
  `https://127.0.0.1:${port}/`,
  `http://[::1]:${port}/`,
  `http://127.0.0.1:${port}/%2e%2e/`,
]
