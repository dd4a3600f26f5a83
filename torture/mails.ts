/** What the clients post: mails of all sizes, each with its number in it, some to several recipients. */
import { createRandom, type Random } from './random.ts'
import { pickFate, recipientOf } from './sites.ts'

/** The run's tenants: one takes what may have arrived to be sent again, one does not (`at_most_once`). */
export const modes = ['repeated', 'once'] as const
export type Mode = (typeof modes)[number]

/** Whose mail it is: one in four is of the tenant that chose `at_most_once`. */
export const modeOf = (number: number): Mode => (number % 4 === 1 ? 'once' : 'repeated')

/** What each tenant sends from. */
export const senderDomainOf = (mode: Mode): string => `${mode}.torture.test`

/** In every mail: its number. */
export const numberField = 'X-Torture-Number'

export interface Mail {
  number: number
  /** Null: posted without Idempotency-Key. */
  key: string | null
  body: Record<string, unknown>
}

export interface MailOptions {
  seed: number
  isSinkMoody: boolean
  /** Mails whose only recipient's site answers for ever, at its first try. */
  drips: ReadonlySet<number>
}

export function makeMail({ seed, isSinkMoody, drips }: MailOptions, number: number): Mail {
  const random = createRandom(seed, `mail ${number}`)
  const count = drips.has(number) || random.chance(0.67) ? 1 : random.whole(2, 5)
  const to = Array.from({ length: count }, (_, ordinal) => {
    const fate = drips.has(number) ? 'drip' : pickFate(random, isSinkMoody)
    return recipientOf(random, fate, number, ordinal)
  })
  const hasAttachment = random.chance(0.04)
  return {
    number,
    key: random.chance(0.85) ? `torture-${seed}-${number}` : null,
    body: {
      from: `Torture <mail@${senderDomainOf(modeOf(number))}>`,
      to,
      subject: `Number ${number}: ${random.pick(['zürich', '日本', 'plain'])}`,
      text: filler(random, random.chance(0.02) ? 45_000 : random.whole(20, 600)),
      ...(random.chance(0.3) && { html: `<p>${filler(random, 50)}</p>` }),
      ...(hasAttachment && { attachments: [attachment(random)] }),
      headers: { [numberField]: `${number}` },
      metadata: { number: `${number}` },
      ...(random.chance(0.2) && { stream: 'bulk' }),
    },
  }
}

const words = 'mail dot queue lease.\n.\n zürich 日本 From the\nend, of = a line\r\nand spam'.split(' ')

function filler(random: Random, count: number): string {
  return Array.from({ length: count }, () => random.pick(words)).join(' ')
}

function attachment(random: Random) {
  const content = Buffer.from(
    Array.from({ length: random.whole(10_000, 60_000) }, () => random.whole(0, 255)),
  )
  return { filename: 'numbers.bin', content: content.toString('base64') }
}
