/** Values with one thing wrong, and what a hostile client would put into a body: as text, for not all of it is JSON. */
import { between, type Json, pick, type Random } from './schema-values.ts'

/** Texts that trouble programs: terminators, other scripts and directions, markup, paths, numbers that look like something else. */
export const naughtyTexts: readonly string[] = [
  ...[
    '',
    ' ',
    '\u0000',
    'a\u0000b',
    '\r\nBcc: x@example.test',
    '\n.\n',
    '.\r\n',
    '\u2028',
    '\ufeff',
    '\ud800',
    'x\udfff',
  ],
  ...['null', 'undefined', 'NaN', '-1', '1e309', '0x1F', 'true', '١٢٣', '１２', '9999999999999999999999'],
  ...[
    "' OR 1=1 --",
    '"; DROP TABLE valija.messages; --',
    '$1',
    '\\',
    '%',
    '%00',
    '%s%n',
    '{{7*7}}',
    '{% raw %}',
  ],
  ...[
    '$' + '{process.exit()}',
    '<script>alert(1)</script>',
    '<!--',
    ']]>',
    '../../../etc/passwd',
    '/dev/zero',
    'file:///etc/passwd',
  ],
  ...[
    'http://[::1',
    'http://127.0.0.1:1/',
    'gopher://x',
    'javascript:0',
    'a@b@c',
    '<>',
    '@',
    'a@',
    '@b',
    'a@[127.0.0.1]',
  ],
  ...[
    'a@xn--',
    'ä@ü.test',
    '"a b"@c.test',
    'a@b..c',
    `${'a'.repeat(65)}@b.test`,
    `a@${'b.'.repeat(130)}test`,
    '=?utf-8?q?=00?=',
  ],
  ...[
    '\u202egnp.exe',
    'é',
    'e\u0301',
    '🏳️‍🌈',
    'Z͑ͫ̓ͪ̂ͫ̽͏̴̙̤̞͉͚̯̞̠͍A',
    '\u200b',
    'ﷺ',
    'İ',
    'ß',
    '0001-01-01T00:00:00Z',
    '2026-02-30T00:00:00Z',
  ],
  ...[
    '+275760-09-13T00:00:00Z',
    '2026-11-26T24:00:00Z',
    '2026-11-26',
    '12:00',
    '__proto__',
    'constructor',
    'hasOwnProperty',
  ],
  ...[
    'msg_',
    'msg_0000',
    `msg_${'0'.repeat(32)}`,
    `msg_${'g'.repeat(32)}`,
    '0/0',
    '300.300.300.300',
    '::/0',
    '10.0.0.0/99',
  ],
]

const otherTypes: readonly Json[] = [
  null,
  true,
  false,
  0,
  -1,
  1.5,
  1e300,
  '',
  'x',
  [],
  {},
  [[]],
  [null],
  { x: 1 },
]

type Place = { holder: Json[] | Record<string, Json>; key: string | number }

/** Every place of a value, the deepest too. */
function placesOf(value: Json, found: Place[] = []): Place[] {
  if (value === null || typeof value !== 'object') return found
  const keys = Array.isArray(value) ? value.keys() : Object.keys(value)
  for (const key of keys) {
    found.push({ holder: value, key })
    placesOf((value as Record<string | number, Json>)[key] as Json, found)
  }
  return found
}

/** The value with one thing wrong: a field missing, too much, of another type, too long, at its bounds, naughty. */
export function nearlyValid(value: Json, random: Random): Json {
  const spoiled = structuredClone(value)
  const places = placesOf(spoiled)
  if (places.length === 0) return pick(random, otherTypes)
  const { holder, key } = pick(random, places)
  const at = holder as Record<string | number, Json>
  const old = at[key] as Json
  const ways: (() => void)[] = [
    () => {
      if (Array.isArray(holder)) holder.splice(Number(key), 1)
      else delete at[key]
    },
    () => {
      if (!Array.isArray(holder)) at[`${key}_`] = old
      else holder.push(old)
    },
    ...[() => pick(random, otherTypes), () => pick(random, naughtyTexts), () => edited(old, random)].map(
      (replacement) => () => {
        at[key] = replacement()
      },
    ),
  ]
  pick(random, ways)()
  return spoiled
}

/** The same kind of value, but longer, at a bound, or with something in it. */
function edited(value: Json, random: Random): Json {
  if (typeof value === 'number')
    return value + pick(random, [-1, 1, 0.5, 2 ** 31, 2 ** 53, -(2 ** 31), Number.MAX_VALUE])
  if (typeof value === 'string') {
    const at = between(random, 0, value.length)
    const more = random() < 0.3 ? 'x'.repeat(between(random, 60, 3_000)) : pick(random, naughtyTexts)
    return value.slice(0, at) + more + value.slice(at)
  }
  if (Array.isArray(value)) return value.concat(value, value)
  if (typeof value === 'boolean') return !value
  return value === null ? {} : { ...value, [pick(random, naughtyTexts)]: pick(random, otherTypes) }
}

/** How large the largest bodies are; most are small. */
const hugeOctets = 2_000_000

/** A body that no client of good will would send. */
export function hostileBody(value: Json, random: Random): string | Buffer {
  const text = JSON.stringify(value)
  const inField = (raw: string) => {
    // A field's value by text, for what JSON.stringify would not write.
    const at = text.indexOf(':')
    return at < 0 ? raw : `${text.slice(0, at + 1)}${raw},${text.slice(1)}`
  }
  const depth = pick(random, [100, 5_000, 50_000])
  const ways: (() => string | Buffer)[] = [
    () => inField('['.repeat(depth) + ']'.repeat(depth)),
    () => inField(`${'{"a":'.repeat(depth)}1${'}'.repeat(depth)}`),
    () => '['.repeat(depth),
    () =>
      inField(
        pick(random, [
          '1e999',
          '-1e999',
          '-0',
          '1E400',
          '123456789012345678901234567890',
          '0.1e-400',
          '01',
          'NaN',
          '.5',
        ]),
      ),
    () =>
      inField(`"${pick(random, ['\\ud800', '\\u0000', '\\uDC00\\uD800', '\\x', '\\u12', '\u0001', '\t'])}"`),
    () => inField(`{"__proto__":{"isOperator":true},"constructor":{"prototype":{"x":1}}}`),
    () => text.replace('{', '{"__proto__":{"from":"a@acme.test"},'),
    () => text.replace('{', `${text.slice(0, -1)}${text.length > 2 ? ',' : ''}`), // every key twice
    () => text.slice(0, between(random, 0, text.length)),
    () => text + pick(random, ['}', ']', ',', '{}', '\u0000', '//', '/**/']),
    () => Buffer.concat([Buffer.from([0xef, 0xbb, 0xbf]), Buffer.from(text)]),
    () => Buffer.from(`\ufeff${text}`, 'utf16le'),
    () => spoiledOctets(Buffer.from(text), random),
    () => JSON.stringify(manyKeys(between(random, 1_000, 20_000))),
    () =>
      inField(
        JSON.stringify(Array.from({ length: between(random, 1_001, 20_000) }, (_, n) => `a${n}@b.test`)),
      ),
    () => JSON.stringify(nearlyValid(nearlyValid(nearlyValid(value, random), random), random)),
    () =>
      random() < 0.1
        ? inField(
            `"${pick(random, ['x', '\\u00e9', '😀', '\\n'])}"`.replace(
              /^"(.*)"$/,
              (_, unit: string) => `"${unit.repeat(Math.floor(hugeOctets / unit.length))}"`,
            ),
          )
        : '',
  ]
  return pick(random, ways)()
}

function manyKeys(count: number): Record<string, number> {
  return Object.fromEntries(Array.from({ length: count }, (_, index) => [`k${index}`, index]))
}

/** Some octets changed, so that it is no UTF-8 any more. */
function spoiledOctets(octets: Buffer, random: Random): Buffer {
  for (let left = 3; left > 0; left--)
    octets[between(random, 0, octets.length - 1)] = pick(random, [0x00, 0x80, 0xc0, 0xed, 0xf5, 0xff])
  return octets
}
