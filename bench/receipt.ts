/**
 * The mail of all benchmarks: a receipt of 10 KB as text and HTML, with the signs and long lines that such mail has, so that
 * composing it needs quoted-printable. Every system gets the same one; only the number in it differs.
 *
 * The number goes with the mail as `X-Ledger`, by which the sink counts. It has a fixed width, so every request and every
 * mail has the same length.
 */

/** The domain that the mails are from; Valija's tenant is vouched for it. */
export const senderDomain = 'shop.bench.test'

/** Where the sink finds the number; compared as it is, for no system here changes the case of a header's name. */
export const ledgerField = 'X-Ledger'
const digits = 8

export interface Receipt {
  from: string
  to: string
  subject: string
  text: string
  html: string
  headers: Record<string, string>
}

const goods = [
  'Espresso cups',
  'Moka pot',
  'Grinder burrs',
  'Beans “Sierra”',
  'Descaler',
  'Milk jug',
  'Tamper',
  'Scale',
]
const items = Array.from({ length: 18 }, (_, index) => {
  const count = 1 + ((index * 7) % 5)
  const cents = 399 + ((index * 7919) % 6_000)
  return {
    name: `${goods[index % goods.length]}, no. ${4711 + index * 13}`,
    count,
    cents,
    total: count * cents,
  }
})
const money = (cents: number) => `${(cents / 100).toFixed(2)} €`
const total = money(items.reduce((sum, item) => sum + item.total, 0))

/** Makes the receipt of an order. */
export function receipt(number: number): Receipt {
  const order = ledgerNumber(number)
  const heading = `Your receipt for order ${order}`
  return {
    from: `Café Müller <receipts@${senderDomain}>`,
    to: `customer-${order}@example.test`,
    subject: heading,
    text: [heading, '', ...items.map(textLine), '', `Total: ${total}`, '', terms].join('\n'),
    html: htmlPage(heading),
    headers: { [ledgerField]: order },
  }
}

export function ledgerNumber(number: number): string {
  return String(number).padStart(digits, '0')
}

/**
 * The JSON of POST /send for a number, fast: the text around the number is made once.
 *
 * @returns a function that gives the body's octets
 */
export function createBodyWriter(): (number: number) => Buffer {
  const placeholder = ledgerNumber(98_765_432)
  const parts = JSON.stringify(receipt(98_765_432)).split(placeholder)
  return (number) => Buffer.from(parts.join(ledgerNumber(number)))
}

function textLine({ name, count, cents, total: sum }: (typeof items)[number]): string {
  return `${String(count).padStart(3)} × ${name.padEnd(32)} ${money(cents).padStart(9)} ${money(sum).padStart(10)}`
}

const terms =
  'You can send goods back within 30 days, in their box and with this receipt. Postage is ours if something was wrong, and yours if you changed your mind. ' +
  'Keep this mail: it is your proof of purchase, and the guarantee of two years counts from today. Questions? Answer this mail, a person reads it.'

function htmlPage(heading: string): string {
  const cell = 'padding:8px 12px;border-bottom:1px solid #e5e1dc;font:14px/20px Georgia,serif;color:#2b2118'
  const rows = items.map(
    ({ name, count, cents, total: sum }) =>
      `<tr><td style="${cell}">${name}</td><td style="${cell}">${count} × ${money(cents)}</td><td style="${cell}"><b>${money(sum)}</b></td></tr>`,
  )
  return [
    '<!doctype html><html lang="en"><head><meta charset="utf-8">',
    `<title>${heading}</title></head><body style="margin:0;background:#f7f4f0"><h1 style="font:24px Georgia,serif">${heading}</h1>`,
    '<table role="presentation" width="600" cellspacing="0" cellpadding="0" style="margin:0 auto;background:#fff">',
    ...rows,
    `</table><p><b>Total: ${total}</b></p><p>${terms}</p></body></html>`,
  ].join('\n')
}
