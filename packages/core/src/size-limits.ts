/** How large a message of a tenant or a key may be, below what holds for everybody. No limit holds until it is set. */

/** By the names that `limits` of tenants and keys have for them. */
export const sizeLimits = {
  max_message_bytes: {
    maximum: 1_000_000_000,
    description:
      'Octets of a message: text, html and 4/3 of the attachments, or the raw message. Beyond `VALIJA_MAX_MESSAGE_SIZE` it changes nothing.',
  },
  max_recipients: { maximum: 1_000, description: 'Recipients of one message.' },
  max_attachments: { maximum: 100, description: 'Attachments of one message that is not raw.' },
} as const

export type SizeLimitName = keyof typeof sizeLimits
export const sizeLimitNames = Object.keys(sizeLimits) as SizeLimitName[]
export type SizeLimits = { [Name in SizeLimitName]?: number }

/** A limit that holds for a caller. */
export interface SizeLimit {
  of: 'tenant' | 'key'
  name: SizeLimitName
  value: number
}

/** Those of a tenant or a key, as they hold for its caller. */
export function sizeLimitsOf(of: SizeLimit['of'], limits: object): SizeLimit[] {
  return sizeLimitNames.flatMap((name) => {
    const value = (limits as Record<string, unknown>)[name]
    return typeof value === 'number' ? [{ of, name, value }] : []
  })
}
