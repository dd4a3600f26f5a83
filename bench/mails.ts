/**
 * The mails of all benchmarks: a receipt of 10 KB as text and HTML, with the signs and long lines that such mail has, so that
 * composing it needs quoted-printable; a one-time code of 1 KB; a page of 100 KB; a receipt with an invoice of 200 KB as PDF.
 * Every system gets the same ones; only numbers in it differ.
 *
 * The number goes with the mail as `X-Ledger`, by which the sink counts. Numbers have a fixed width, so every request and every
 * mail of a kind has the same length.
 */

/** Where the sink finds the number; compared as it is, for no system here changes the case of a header's name. */
export const ledgerField = 'X-Ledger'
const digits = 8

export type MailKind = 'code' | 'receipt' | 'large' | 'pdf'
export const mailKinds: readonly MailKind[] = ['code', 'receipt', 'large', 'pdf']

/** What mails are like, and among how many domains and tenants they are spread, in turn. */
export interface MailShape {
  kind: MailKind
  /** Domains of the recipients. */
  domains: number
  tenants: number
}

export const plainReceipt: MailShape = { kind: 'receipt', domains: 1, tenants: 1 }

/** As POST /send and nodemailer both take it. */
export interface Mail {
  from: string
  to: string
  subject: string
  text: string
  html: string
  headers: Record<string, string>
  attachments?: { filename: string; content: string }[]
}

/** The domain that a tenant's mails are from; the operator vouches for it. */
export function senderDomain(tenant: number): string {
  return `shop${String(tenant).padStart(digits, '0')}.test`
}

export function recipientDomain(index: number): string {
  return `to${String(index).padStart(digits, '0')}.test`
}

export function ledgerNumber(number: number): string {
  return String(number).padStart(digits, '0')
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

/** How often the page of a large mail has the items of a receipt. */
const largeTimes = 13
const pdfBytes = 200 * 1024

/** Made once: octets that do not compress, as in a PDF, the same in every run. */
const pdf = Buffer.alloc(pdfBytes)
for (let at = 0, state = 4711; at < pdfBytes; at += 1) {
  state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0
  pdf[at] = state >>> 24
}
pdf.write('%PDF-1.7\n', 'latin1')
const pdfText = pdf.toString('base64')

/** From whom to whom mail number so and so goes. */
export function makeEnvelope(shape: MailShape, number: number): { from: string; to: string } {
  return {
    from: `mail@${senderDomain(number % shape.tenants)}`,
    to: `customer-${ledgerNumber(number)}@${recipientDomain(number % shape.domains)}`,
  }
}

export function makeMail(shape: MailShape, number: number): Mail {
  const order = ledgerNumber(number)
  const { from, to } = makeEnvelope(shape, number)
  return {
    from: `Café Müller <${from}>`,
    to,
    headers: { [ledgerField]: order },
    ...contentOf(shape.kind, order),
  }
}

function contentOf(kind: MailKind, order: string): Omit<Mail, 'from' | 'to' | 'headers'> {
  if (kind === 'code') {
    const text = `Your code is ${order}. It can be used once, within ten minutes. We never ask for it: tell it to nobody.`
    return { subject: `${order} is your code`, text, html: codePage(text) }
  }
  const heading = `Your receipt for order ${order}`
  const text = [heading, '', ...items.map(textLine), '', `Total: ${total}`, '', terms].join('\n')
  const html = htmlPage(heading, kind === 'large' ? largeTimes : 1)
  const attachments = [{ filename: 'invoice.pdf', content: pdfText }]
  return { subject: heading, text, html, ...(kind === 'pdf' && { attachments }) }
}

/** A mail as nodemailer takes it: what it attaches is in base64, which Valija takes for granted. */
export function forNodemailer(mail: Mail) {
  const attachments = mail.attachments?.map((part) => ({ ...part, encoding: 'base64' }))
  return { ...mail, ...(attachments && { attachments }) }
}

/** Stand for a mail's number, its tenant's and its recipient's domain in the text that is made once. */
const sampleNumber = 98_765_432

/**
 * The JSON of POST /send for a number, fast: the text around what differs is made once.
 *
 * @returns a function that gives the body's octets
 */
export function createBodyWriter(shape: MailShape): (number: number) => Buffer {
  return createTextWriter(shape, JSON.stringify(makeMail(shape, sampleNumber)))
}

/** From the text of mail `sampleNumber`, however it was made, the octets of any other. */
export function createTextWriter(shape: MailShape, sample: string): (number: number) => Buffer {
  const order = ledgerNumber(sampleNumber)
  const sender = senderDomain(sampleNumber % shape.tenants)
  const recipient = recipientDomain(sampleNumber % shape.domains)
  const parts = sample.split(new RegExp(`(${order}|${sender}|${recipient})`))
  const slots = parts.map((part) => [order, sender, recipient].indexOf(part))
  return (number) => {
    const values = [
      ledgerNumber(number),
      senderDomain(number % shape.tenants),
      recipientDomain(number % shape.domains),
    ]
    return Buffer.from(parts.map((part, index) => values[slots[index] ?? -1] ?? part).join(''))
  }
}

export const sampleMail = (shape: MailShape): Mail => makeMail(shape, sampleNumber)

function textLine({ name, count, cents, total: sum }: (typeof items)[number]): string {
  return `${String(count).padStart(3)} × ${name.padEnd(32)} ${money(cents).padStart(9)} ${money(sum).padStart(10)}`
}

const terms =
  'You can send goods back within 30 days, in their box and with this receipt. Postage is ours if something was wrong, and yours if you changed your mind. ' +
  'Keep this mail: it is your proof of purchase, and the guarantee of two years counts from today. Questions? Answer this mail, a person reads it.'

function codePage(text: string): string {
  return `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Your code</title></head>\n<body style="margin:0;background:#f7f4f0;font:16px/24px Georgia,serif;color:#2b2118">\n<p style="margin:24px auto;padding:24px;max-width:480px;background:#fff">${text}</p>\n</body></html>`
}

function htmlPage(heading: string, times: number): string {
  const cell = 'padding:8px 12px;border-bottom:1px solid #e5e1dc;font:14px/20px Georgia,serif;color:#2b2118'
  const rows = items.map(
    ({ name, count, cents, total: sum }) =>
      `<tr><td style="${cell}">${name}</td><td style="${cell}">${count} × ${money(cents)}</td><td style="${cell}"><b>${money(sum)}</b></td></tr>`,
  )
  return [
    '<!doctype html><html lang="en"><head><meta charset="utf-8">',
    `<title>${heading}</title></head><body style="margin:0;background:#f7f4f0"><h1 style="font:24px Georgia,serif">${heading}</h1>`,
    '<table role="presentation" width="600" cellspacing="0" cellpadding="0" style="margin:0 auto;background:#fff">',
    ...Array.from({ length: times }, () => rows).flat(),
    `</table><p><b>Total: ${total}</b></p><p>${terms}</p></body></html>`,
  ].join('\n')
}
