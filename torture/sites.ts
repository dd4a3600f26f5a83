/**
 * The receiving side: a handful of sites, and what each mail is going to meet there. A recipient's address tells: `slow-17-0@b.torture.test`
 * is the first recipient of mail 17, and its site is slow with it.
 */
import type { Random } from './random.ts'

export const fates = ['ok', 'slow', 'later', 'no', 'cut', 'bye', 'drip'] as const
export type Fate = (typeof fates)[number]

/** Each at an address of its own, so that what one does slows no other. */
export const sites = {
  'a.torture.test': '127.0.61.1',
  'b.torture.test': '127.0.61.2',
  'c.torture.test': '127.0.61.3',
  'd.torture.test': '127.0.61.4',
  'cut.torture.test': '127.0.61.5',
  'bye.torture.test': '127.0.61.6',
  'drip.torture.test': '127.0.61.7',
} as const

const plain = ['a.torture.test', 'b.torture.test', 'c.torture.test', 'd.torture.test']

/** Of a hundred recipients, with a sink that misbehaves. */
const shares: [Fate, number][] = [
  ['slow', 15],
  ['later', 3],
  ['no', 1],
  ['cut', 3],
  ['bye', 2],
]

export function pickFate(random: Random, isSinkMoody: boolean): Fate {
  let drawn = random.next() * 100
  if (!isSinkMoody) return 'ok'
  for (const [fate, share] of shares) {
    if (drawn < share) return fate
    drawn -= share
  }
  return 'ok'
}

/** Odd sites get plain mail as well, so that three failures in a row are rare there. */
export function recipientOf(random: Random, fate: Fate, number: number, ordinal: number): string {
  const own = `${fate}.torture.test`
  const isOdd = fate === 'cut' || fate === 'bye' || fate === 'drip'
  const odd = ['cut.torture.test', 'bye.torture.test']
  const site = isOdd ? own : fate === 'ok' && random.chance(0.25) ? random.pick(odd) : random.pick(plain)
  return `${fate}-${number}-${ordinal}@${site}`
}

export function fateOf(address: string): Fate {
  const name = address.slice(0, address.indexOf('-'))
  return fates.find((fate) => fate === name) ?? 'ok'
}
