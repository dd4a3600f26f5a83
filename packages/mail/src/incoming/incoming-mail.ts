/**
 * What a mail that came to a return path or a report address says: the result of `readIncoming`.
 *
 * Nothing in it is to be trusted: anybody can write such a mail. Who may change what by it is decided by the signed return path
 * (verp.ts), not here.
 */

/**
 * The field in which our own mails carry an opaque token of message and recipient. Complaints come with the addresses blacked
 * out, so this is what tells whom one is about (RFC 6650 section 8.2 advises it).
 */
export const RECIPIENT_TOKEN_HEADER = 'X-Valija-Recipient'

/** RFC 3464 section 2.3.3. */
export const deliveryActions = ['failed', 'delayed', 'delivered', 'relayed', 'expanded'] as const
export type DeliveryAction = (typeof deliveryActions)[number]

/** The command whose answer is reported, where the report says so. */
export type ReportedPhase = 'connect' | 'ehlo' | 'mail' | 'rcpt' | 'data' | 'body'

export interface ReportedRecipient {
  /** The address that could not be reached; null when the report names none. */
  address: string | null
  /** As the sender had written it, where the report says so: forwarding may have changed it since (RFC 3464 section 2.3.1). */
  originalAddress: string | null
  action: DeliveryAction
  /** Enhanced status (RFC 3463) such as `5.1.1`. */
  status: string | null
  /** 400 to 599: the SMTP reply that the reporting host was given. */
  replyCode: number | null
  /** What was said of the failure, on one line, at most 1,000 characters; may be empty. */
  text: string
  /** The host that refused. */
  remoteHost: string | null
  /** The host that made the report. */
  reportingHost: string | null
  phase: ReportedPhase | null
  /** What else the report says to people, where it is about one recipient; at most 2,000 characters, without addresses. */
  context?: string
  /** Set when a person forwarded the report: good to know, but nobody is suppressed by it. */
  isSecondHand?: true
}

/** What the mail quotes of ours. Each is null where it is not quoted, or blacked out. */
export interface OriginalTraces {
  /** With angle brackets. */
  messageId: string | null
  /** An address of the form of our signed return paths, wherever in the mail it stands. Not checked. */
  returnPath: string | null
  /** The value of `RECIPIENT_TOKEN_HEADER`. Not checked. */
  recipientToken: string | null
  from: string | null
  /** The first address of To. */
  to: string | null
  subject: string | null
}

export interface ReportAttachment {
  filename: string | null
  /** Lower case, without parameters. */
  contentType: string
  content: Buffer
}

export type IncomingMail =
  | { kind: 'bounce'; recipients: ReportedRecipient[]; original: OriginalTraces }
  | {
      kind: 'complaint'
      /** RFC 5965 section 3.1 and the registry: `abuse`, `fraud`, `opt-out`, `not-spam` …; lower case. */
      feedbackType: string
      /** Whom the mail had been sent to, where that was left in. */
      recipients: string[]
      original: OriginalTraces
      /** Who complains for its user: the User-Agent or the domain of the report. */
      source: string | null
    }
  | { kind: 'dmarc_report' | 'tls_report'; attachments: ReportAttachment[] }
  | { kind: 'auto_reply' | 'challenge' | 'other' }
