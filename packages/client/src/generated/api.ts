/** The types of the API. Written by tools/generate-openapi.ts from its description: not to be changed by hand. */

/** What went wrong, in the form of RFC 9457. */
export type Problem = {
  /** Names the kind of problem, as code does. */
  type: string
  /** What happened; of a `conflict` which kind of it. */
  title: string
  status: number
  /** What exactly is wrong this time. */
  detail?: string
  /** Stable: programs decide by it. */
  code: string
  /** What can be done about it. */
  fix: string
  errors?: ({
    /** A JSON pointer into the body, or the name of a query key or header. */
    path: string
    message: string
  })[]
  /** The limit that is in the way, where one of a tenant or key is. */
  limit?: {
    /** Whose it is. */
    of: 'tenant' | 'key'
    /** As in `limits` of tenants and keys. */
    name: string
    value: number
    /** How much of it is left. */
    left?: number
    /** When its time is over and it begins anew. */
    resets_at?: string
  }
  request_id: string
}

/** An address: a string, or its two parts. */
export type AddressInput = string | {
  email: string
  /** The display name, at most 256 characters. */
  name?: string
}

/** One address, or a list of them. */
export type AddressListInput = string | {
  email: string
  name?: string
} | (AddressInput)[]

export type AttachmentInput = {
  /** At most 255 characters, without a path. */
  filename: string
  /** Base64 (RFC 4648 section 4). */
  content: string
  /** Told from the file name if absent. */
  content_type?: string
  /** What `cid:` links in html name it by. */
  content_id?: string
  disposition?: 'attachment' | 'inline'
}

/** A template of GET /templates, and what to fill it with. */
export type TemplateUse = {
  /** The template’s. */
  slug: string
  /** Absent: the published one. */
  version?: number
  /** The values of its variables. */
  variables?: Record<string, unknown>
}

/** A message. Required: from; a recipient in to, cc or bcc; and raw, or template, or subject with text or html. A subject beside template stands in for the template’s. */
export type MessageInput = {
  from: AddressInput
  to?: AddressListInput
  cc?: AddressListInput
  bcc?: AddressListInput
  reply_to?: AddressListInput
  /** At most 998 characters. */
  subject?: string
  /** Lines of any length. */
  text?: string
  /** Lines of any length. */
  html?: string
  /** `X-*` but not `X-Valija-*`, `List-*`, In-Reply-To, References, Precedence, Auto-Submitted, Feedback-ID, Importance, Priority, Comments, Keywords; at most 2,000 octets each. */
  headers?: Record<string, string>
  attachments?: (AttachmentInput)[]
  /** RFC 5322 text in base64, instead of subject, text, html, headers, attachments and reply_to. */
  raw?: string
  template?: TemplateUse
  /** At most 128 characters each. */
  tags?: (string)[]
  /** Keys of at most 64 and values of at most 512 characters; given back in events. */
  metadata?: Record<string, string>
  stream?: 'transactional' | 'bulk'
  /** When to send it: an RFC 3339 time up to a year ahead. */
  send_at?: string
  /** Give up after so many seconds, 60 to 604800. */
  ttl_seconds?: number
  /** The route that it takes: one of GET /routes, or capture. Absent: as the lists say. */
  route?: string
  /** Send only to servers that prove who they are over TLS; tried again, and given up in the end, where none does. */
  require_tls?: boolean
  /** Of bulk mail only: what its readers’ programs unsubscribe by (List-Unsubscribe, RFC 8058). true: a link of ours for each recipient. */
  unsubscribe?: true | {
    /** https; takes a POST with `List-Unsubscribe=One-Click`, and acts without asking. */
    url?: string
    /** An address, or a `mailto:` URI with subject or body. */
    mailto?: string
  }
  /** Walk through the real states without sending anything. */
  sandbox?: boolean
  /** Drop the body as soon as no recipient is left to be sent to. What the capture inbox caught stays there. */
  sensitive?: boolean
  /** Tell by `message.late` of each recipient whose mail is not handed off so many seconds after acceptance or send_at, whichever is later; 1 to 604800. */
  notify_if_not_handed_off_within?: number
}

/** A message as POST /send takes it, and its own idempotency key. */
export type BatchMessageInput = {
  from: AddressInput
  to?: AddressListInput
  cc?: AddressListInput
  bcc?: AddressListInput
  reply_to?: AddressListInput
  /** At most 998 characters. */
  subject?: string
  /** Lines of any length. */
  text?: string
  /** Lines of any length. */
  html?: string
  /** `X-*` but not `X-Valija-*`, `List-*`, In-Reply-To, References, Precedence, Auto-Submitted, Feedback-ID, Importance, Priority, Comments, Keywords; at most 2,000 octets each. */
  headers?: Record<string, string>
  attachments?: (AttachmentInput)[]
  /** RFC 5322 text in base64, instead of subject, text, html, headers, attachments and reply_to. */
  raw?: string
  template?: TemplateUse
  /** At most 128 characters each. */
  tags?: (string)[]
  /** Keys of at most 64 and values of at most 512 characters; given back in events. */
  metadata?: Record<string, string>
  stream?: 'transactional' | 'bulk'
  /** When to send it: an RFC 3339 time up to a year ahead. */
  send_at?: string
  /** Give up after so many seconds, 60 to 604800. */
  ttl_seconds?: number
  /** The route that it takes: one of GET /routes, or capture. Absent: as the lists say. */
  route?: string
  /** Send only to servers that prove who they are over TLS; tried again, and given up in the end, where none does. */
  require_tls?: boolean
  /** Of bulk mail only: what its readers’ programs unsubscribe by (List-Unsubscribe, RFC 8058). true: a link of ours for each recipient. */
  unsubscribe?: true | {
    /** https; takes a POST with `List-Unsubscribe=One-Click`, and acts without asking. */
    url?: string
    /** An address, or a `mailto:` URI with subject or body. */
    mailto?: string
  }
  /** Walk through the real states without sending anything. */
  sandbox?: boolean
  /** Drop the body as soon as no recipient is left to be sent to. What the capture inbox caught stays there. */
  sensitive?: boolean
  /** Tell by `message.late` of each recipient whose mail is not handed off so many seconds after acceptance or send_at, whichever is later; 1 to 604800. */
  notify_if_not_handed_off_within?: number
  /** At most 255 visible ASCII characters, per tenant. Kept until 24 h after acceptance or send_at: the same message gets the stored answer, another one 409. */
  idempotency_key?: string
}

/** Up to 1,000 messages, with at most 10,000 addresses in to, cc and bcc in all. */
export type BatchInput = {
  messages: (BatchMessageInput)[]
}

/** A message that was accepted: stored durably, and going to be sent. */
export type AcceptedMessage = {
  id: string
  /** While any recipient is live the first present of sending, queued, deferred, scheduled; all ended alike: that word; otherwise partially_delivered if one was delivered, else the first present of bounced, failed, suppressed, cancelled. */
  status: 'scheduled' | 'queued' | 'sending' | 'deferred' | 'delivered' | 'bounced' | 'failed' | 'cancelled' | 'suppressed' | 'partially_delivered'
  /** Where this installation sends mail. */
  delivery: 'capture' | 'smarthost' | 'mx'
  /** When it was accepted. */
  created_at: string
  /** Present when a simulator plays it: nothing leaves the machine. */
  simulated?: true
  /** The message that was sent again with this one (POST /messages/:id/resend). */
  resent_from?: string
  recipients: ({
    id: string
    /** In canonical form: the domain as lower-case A-labels. */
    email: string
    type: 'to' | 'cc' | 'bcc'
    status: 'scheduled' | 'queued' | 'sending' | 'deferred' | 'delivered' | 'bounced' | 'failed' | 'cancelled' | 'suppressed'
  })[]
}

export type Recipient = {
  id: string
  /** In canonical form: the domain as lower-case A-labels. */
  email: string
  type: 'to' | 'cc' | 'bcc'
  status: 'scheduled' | 'queued' | 'sending' | 'deferred' | 'delivered' | 'bounced' | 'failed' | 'cancelled' | 'suppressed'
  /** Why it waits or failed, in one word. */
  reason: string | null
  /** The last reply of the receiving server, or what kept it from coming. */
  reply: string | null
  enhanced_status: string | null
  attempts: number
  /** When it is tried again. */
  next_attempt_at: string | null
  /** When the receiving server took it. */
  delivered_at: string | null
}

export type Message = {
  id: string
  /** While any recipient is live the first present of sending, queued, deferred, scheduled; all ended alike: that word; otherwise partially_delivered if one was delivered, else the first present of bounced, failed, suppressed, cancelled. */
  status: 'scheduled' | 'queued' | 'sending' | 'deferred' | 'delivered' | 'bounced' | 'failed' | 'cancelled' | 'suppressed' | 'partially_delivered'
  from: string
  /** Empty also where it is gone: see content. */
  subject: string
  /** Whether what was said in it is still there: what is gone is not to be taken for empty. */
  content: {
    /** `kept`; or gone: by an erasure of all its recipients (`erased`), by the tenant’s redact_after_days (`redacted`), both with subject and metadata; because it was `sensitive`; as content grows old (`expired`). */
    state: 'kept' | 'erased' | 'redacted' | 'sensitive' | 'expired'
    /** Since when it is gone; null: it is kept, or that is not on record. */
    since: string | null
  }
  stream: 'transactional' | 'bulk'
  tags: (string)[]
  metadata: Record<string, string>
  /** When it was asked to be sent; null: at once. */
  send_at: string | null
  /** When it was accepted. */
  created_at: string
  /** When it is given up. */
  expires_at: string
  /** Its Message-ID, with angle brackets. */
  rfc_message_id: string
  /** Octets of the composed mail; null until it was composed. */
  size_bytes: number | null
  /** Present when a simulator plays it: nothing leaves the machine. */
  simulated?: true
  /** Present when its body is not kept any longer than it is needed. */
  sensitive?: true
  /** The message that was sent again with this one (POST /messages/:id/resend). */
  resent_from?: string
  /** Present when its content was made from a template: from this version of it. */
  template?: {
    /** The one that it had then. */
    slug: string
    version: number
  }
  recipients: (Recipient)[]
}

/** A message after it was changed: as GET /messages/:id shows it to keys with the scope read, and else without what was said in it and what became of it. */
export type ChangedMessage = {
  id: string
  /** While any recipient is live the first present of sending, queued, deferred, scheduled; all ended alike: that word; otherwise partially_delivered if one was delivered, else the first present of bounced, failed, suppressed, cancelled. */
  status: 'scheduled' | 'queued' | 'sending' | 'deferred' | 'delivered' | 'bounced' | 'failed' | 'cancelled' | 'suppressed' | 'partially_delivered'
  stream: 'transactional' | 'bulk'
  /** When it was asked to be sent; null: at once. */
  send_at: string | null
  /** When it was accepted. */
  created_at: string
  /** When it is given up. */
  expires_at: string
  from?: string
  /** Empty also where it is gone: see content. */
  subject?: string
  /** Whether what was said in it is still there: what is gone is not to be taken for empty. */
  content?: {
    /** `kept`; or gone: by an erasure of all its recipients (`erased`), by the tenant’s redact_after_days (`redacted`), both with subject and metadata; because it was `sensitive`; as content grows old (`expired`). */
    state: 'kept' | 'erased' | 'redacted' | 'sensitive' | 'expired'
    /** Since when it is gone; null: it is kept, or that is not on record. */
    since: string | null
  }
  tags?: (string)[]
  metadata?: Record<string, string>
  /** Its Message-ID, with angle brackets. */
  rfc_message_id?: string
  /** Octets of the composed mail; null until it was composed. */
  size_bytes?: number | null
  /** Present when a simulator plays it: nothing leaves the machine. */
  simulated?: true
  /** Present when its body is not kept any longer than it is needed. */
  sensitive?: true
  /** The message that was sent again with this one (POST /messages/:id/resend). */
  resent_from?: string
  /** Present when its content was made from a template: from this version of it. */
  template?: {
    /** The one that it had then. */
    slug: string
    version: number
  }
  recipients: ({
    id: string
    /** In canonical form: the domain as lower-case A-labels. */
    email: string
    type: 'to' | 'cc' | 'bcc'
    status: 'scheduled' | 'queued' | 'sending' | 'deferred' | 'delivered' | 'bounced' | 'failed' | 'cancelled' | 'suppressed'
    /** Why it waits or failed, in one word. */
    reason?: string | null
    /** The last reply of the receiving server, or what kept it from coming. */
    reply?: string | null
    enhanced_status?: string | null
    attempts?: number
    /** When it is tried again. */
    next_attempt_at?: string | null
    /** When the receiving server took it. */
    delivered_at?: string | null
  })[]
}

/** A message without its recipients. */
export type MessageSummary = {
  id: string
  /** While any recipient is live the first present of sending, queued, deferred, scheduled; all ended alike: that word; otherwise partially_delivered if one was delivered, else the first present of bounced, failed, suppressed, cancelled. */
  status: 'scheduled' | 'queued' | 'sending' | 'deferred' | 'delivered' | 'bounced' | 'failed' | 'cancelled' | 'suppressed' | 'partially_delivered'
  from: string
  /** Empty also where it is gone: see content. */
  subject: string
  /** Whether what was said in it is still there: what is gone is not to be taken for empty. */
  content: {
    /** `kept`; or gone: by an erasure of all its recipients (`erased`), by the tenant’s redact_after_days (`redacted`), both with subject and metadata; because it was `sensitive`; as content grows old (`expired`). */
    state: 'kept' | 'erased' | 'redacted' | 'sensitive' | 'expired'
    /** Since when it is gone; null: it is kept, or that is not on record. */
    since: string | null
  }
  stream: 'transactional' | 'bulk'
  tags: (string)[]
  metadata: Record<string, string>
  /** When it was asked to be sent; null: at once. */
  send_at: string | null
  /** When it was accepted. */
  created_at: string
  /** When it is given up. */
  expires_at: string
  /** Its Message-ID, with angle brackets. */
  rfc_message_id: string
  /** Octets of the composed mail; null until it was composed. */
  size_bytes: number | null
  /** Present when a simulator plays it: nothing leaves the machine. */
  simulated?: true
  /** Present when its body is not kept any longer than it is needed. */
  sensitive?: true
  /** The message that was sent again with this one (POST /messages/:id/resend). */
  resent_from?: string
  /** Present when its content was made from a template: from this version of it. */
  template?: {
    /** The one that it had then. */
    slug: string
    version: number
  }
  recipient_count: number
}

/** One try to hand the message to a receiving server. */
export type Attempt = {
  id: string
  recipient_ids: (string)[]
  /** Counts a recipient’s attempts from 1. */
  number: number
  route: string
  host: string | null
  ip: string | null
  port: number | null
  source_ip: string | null
  tls: {
    version: string
    cipher: string
    verified: boolean
    policy: string
    /** Why it is not verified. */
    detail: string | null
  } | null
  /** The step of the conversation that decided. */
  phase: 'dns' | 'connect' | 'greeting' | 'tls' | 'ehlo' | 'auth' | 'mail' | 'rcpt' | 'data' | 'body'
  reply: string | null
  enhanced_status: string | null
  reason: string | null
  /** The recipient’s state after it. */
  outcome: string
  /** All was sent and no reply was read: the peer may have taken it. */
  uncertain: boolean
  /** When it began. */
  started_at: string
  duration_ms: number
  timings_ms: {
    dns: number
    connect: number
    tls: number
    ehlo: number
    envelope: number
    data: number
    total: number
  }
  /** The SMTP conversation; empty unless the key has the scope read:content, and once the content of the message is `redacted` or `erased`. */
  transcript: ({
    /** Since the attempt began. */
    t_ms: number
    from: 'client' | 'server'
    line: string
  })[]
}

export type MessageExplanation = {
  recipients: ({
    /** In canonical form: the domain as lower-case A-labels. */
    email: string
    status: 'scheduled' | 'queued' | 'sending' | 'deferred' | 'delivered' | 'bounced' | 'failed' | 'cancelled' | 'suppressed'
    /** Where it stands, in a sentence. */
    summary: string
    /** The most likely true cause first. */
    because: ({
      /** New ones may come. */
      kind: 'mailbox_unknown' | 'mailbox_full' | 'mailbox_disabled' | 'domain_unknown' | 'spam' | 'policy' | 'reputation' | 'authentication' | 'throttled' | 'greylisted' | 'size' | 'content' | 'protocol' | 'tls' | 'network' | 'expired' | 'internal' | 'rejected' | 'other' | 'delivered' | 'captured' | 'simulated' | 'scheduled' | 'sending' | 'cancelled' | 'suppressed' | 'erased' | 'complained' | 'unsubscribed' | 'next_in_line' | 'tenant_share' | 'workers_busy' | 'no_worker' | 'tenant_suspended' | 'bulk_paused' | 'queue_away' | 'retry_schedule' | 'expires_first' | 'crashed_workers' | 'site_paused' | 'site_slowed' | 'sender_held' | 'route_paused' | 'route_down' | 'no_route' | 'warm_up' | 'no_source' | 'restored' | 'name_unavailable' | 'null_mx' | 'connection_refused' | 'connection_timeout' | 'connection_lost' | 'timeout' | 'address_refused' | 'login_refused' | 'capability' | 'signing' | 'at_most_once' | 'rule' | 'uncertain' | 'earlier_attempts' | 'require_tls' | 'mta_sts' | 'dane' | 'domain_unsigned' | 'dns_records' | 'quarantined'
      /** A sentence or two for people. */
      detail: string
    })[]
    /** When it is tried again. */
    next_attempt_at: string | null
    /** One thing that cures it, or that nothing has to be done. */
    remedy: string
  })[]
}

/** What would be sent. */
export type MessagePreview = {
  /** Which way it would go: capture, smarthost or mx. */
  delivery: string
  /** The return path of the first recipient; each recipient has one of its own. */
  envelope_from: string
  recipients: ({
    email: string
    type: 'to' | 'cc' | 'bcc'
    /** Why it would not be sent to; null when it would. */
    suppressed: string | null
  })[]
  /** The header field From. */
  from: string
  subject: string
  /** As a reader sees it. */
  text: string | null
  /** As a reader sees it. */
  html: string | null
  /** All header fields in their order, decoded. */
  headers: ({
    name: string
    value: string
  })[]
  attachments: ({
    filename: string | null
    content_type: string
    content_id: string | null
    size_bytes: number
  })[]
  /** The RFC 5322 text with its signatures, in base64. Message-ID and Date are this preview’s own. */
  raw: string
  /** Of the raw mail. */
  size_bytes: number
  /** What a receiving server would find, by what DNS says now. */
  authentication: {
    /** Whether something that passes vouches for the From domain, as DMARC asks; unknown: it hangs on what cannot be known here. */
    verdict: 'pass' | 'fail' | 'unknown'
    /** Each signature, from the top. */
    dkim: ({
      /** d= of the signature. */
      domain: string
      selector: string
      /** `rsa-sha256` or `ed25519-sha256`. */
      algorithm: string
      result: 'pass' | 'fail' | 'neutral' | 'none' | 'temperror' | 'permerror' | 'policy'
      /** Its domain is, for DMARC, that of From. */
      aligned: boolean
      /** Why it does not pass. */
      detail: string | null
    })[]
    spf: {
      /** Of the return path. */
      domain: string
      /** The address that it was evaluated for; of several, one that does not pass. */
      ip: string | null
      /** unknown: the address that receivers would see is not known here (a relay’s, or none). */
      result: 'pass' | 'fail' | 'softfail' | 'neutral' | 'none' | 'temperror' | 'permerror' | 'unknown'
      /** Its domain is, for DMARC, that of From. */
      aligned: boolean
      detail: string | null
    }
    dmarc: {
      /** none: no record applies. */
      result: 'pass' | 'fail' | 'none' | 'temperror' | 'unknown'
      /** What receivers are asked to do with mail that fails. */
      policy: string | null
      /** Where the record was found. */
      domain: string | null
    }
  }
  warnings: ({
    /** domain_not_verified: the From domain is not verified: it is taken because delivery is capture, and would be refused otherwise; suppressed_recipient: a recipient would not be sent to; not_authenticated: neither a signature nor SPF vouches for the From domain; refused_by_policy: it fails DMARC, and the domain asks receivers to refuse such mail or to put it aside; cannot_be_signed: it is to be signed, and its key cannot be opened: it would wait; not_signed: it would leave without a DKIM signature; signature_fails: a DKIM signature would not pass; spf_fails: SPF would not pass; spf_not_aligned: SPF passes for another domain than that of From; no_dmarc_record: the From domain has no DMARC record; dns_trouble: the DNS gave no answer, so not all could be evaluated; stays_here: it is caught on this machine, and sent to nobody; simulated: recipients are simulated; large: it is larger than many receivers take; clipped: its html is longer than Gmail shows; no_text: it has html and no text; no_unsubscribe: it is of the stream bulk and has no List-Unsubscribe */
    code: string
    /** What it is, and what to do. */
    message: string
  })[]
}

export type Event = {
  id: string
  type: 'message.accepted' | 'message.scheduled' | 'message.suppressed' | 'message.attempted' | 'message.delivered' | 'message.deferred' | 'message.late' | 'message.bounced' | 'message.failed' | 'message.cancelled' | 'message.complained' | 'message.opened' | 'message.clicked' | 'message.unsubscribed' | 'domain.verified' | 'domain.failed' | 'suppression.added' | 'suppression.removed' | 'destination.throttled' | 'destination.recovered' | 'route.down' | 'route.recovered' | 'tenant.paused' | 'tenant.alarm' | 'tenant.resumed' | 'quota.reached' | 'webhook.disabled'
  /** When it happened. */
  timestamp: string
  /** Of every message event: message_id, recipient_id, email, domain (the sender’s), stream, tags, metadata, seq (numbers a recipient’s events); where it applies: reason, explanation (what the reason means), remedy, bounce_type, reply, enhanced_status, next_attempt_at, provider (who receives for the recipient’s domain), latency_ms (from acceptance or send_at to the receiving server’s yes), uncertain (it ended, and may have been delivered), simulated. */
  data: Record<string, unknown>
}

/** What happened in an hour, a day, or all of the time that was asked for. */
export type StatsRow = {
  /** The start of the hour, of the day, or of all that was asked for. */
  start: string
  /** The sender’s domain, with `group_by=domain`. Null: all further ones. */
  domain?: string | null
  /** With `group_by=stream`. */
  stream?: string | null
  /** Who receives for the recipients’ domains, with `group_by=provider`. Null: none that is known by name, not known yet, or all further ones. */
  provider?: string | null
  /** With `group_by=tag`. Null: all further ones. */
  tag?: string | null
  /** Recipients that were accepted. */
  accepted: number
  /** Taken by the receiving server. */
  delivered: number
  /** Tries that are to be repeated: one recipient can be deferred several times. */
  deferred: number
  /** Refused for good, at once or by a later report. */
  bounced: number
  /** Of these, with `bounce_type` hard: addresses not to be sent to again. */
  hard_bounced: number
  /** Called spam. */
  complained: number
  /** Unsubscribed by a link of a mail. */
  unsubscribed: number
  /** Given up by us: time over, no such domain, refused by a rule. */
  failed: number
  /** Not sent to, because of the suppression list. */
  suppressed: number
  /** Cancelled before they were sent. */
  cancelled: number
  /** By reason (docs/reasons.md). */
  bounced_by_reason: Record<string, number>
  /** By reason. */
  deferred_by_reason: Record<string, number>
  /** By reason. */
  failed_by_reason: Record<string, number>
  /** Bounced, of delivered and bounced. Null without any. */
  bounce_rate: number | null
  /** Hard bounces, of delivered and bounced. Null without any. */
  hard_bounce_rate: number | null
  /** Complained, of delivered. Null without any. */
  complaint_rate: number | null
  /** Deferred, of delivered, bounced and deferred. Null without any. */
  deferral_rate: number | null
  /** From acceptance or `send_at`, whichever is later, to the receiving server’s yes, in milliseconds, within 19 %. Null without deliveries, and where domains or tags are asked for. */
  latency_ms: {
    p50: number
    p95: number
    p99: number
  } | null
}

/** An endpoint that is told of events. */
export type Webhook = {
  id: string
  /** http or https, without user and password. */
  url: string
  /** Event types; `*` means all but message.attempted, which is to be named. */
  events: (string)[]
  /** Only events of mails from exactly these sender domains (a subdomain is another); empty: all. */
  domains: (string)[]
  /** Only events of mails with one of these tags; empty: all. */
  tags: (string)[]
  /** Many events in one request: its body is an array, under one `webhook-id`, and comes again as it was. null (and the default): each event by itself. */
  batch: {
    /** Events in one request. */
    max_events?: number
    /** How long an event waits for others. */
    max_wait_ms?: number
  } | null
  status: 'enabled' | 'disabled'
  /** Why Valija disabled it; null when it did not. */
  disabled_reason: string | null
  /** Since when it is not told; what happened since is told when it is enabled. */
  disabled_at: string | null
  /** Since when no try has succeeded; null: the last one did, there was none yet, or Valija disabled it (disabled_reason). */
  failing_since: string | null
  /** What the last try came to, while it fails or after Valija disabled it; null: nothing is wrong, or the try is not kept any more. */
  last_error: {
    /** null: there was no HTTP answer. */
    status_code: number | null
    /** What was wrong, where the status does not say it. */
    error: string | null
    /** When that try began. */
    at: string
  } | null
  /** What it has still to be told, as /pending lists it. */
  pending: {
    /** How many wait, counted up to 10,000, and in a list up to 1,000. */
    events: number
    /** false: there are more. */
    is_exact: boolean
  }
  /** Until when its former secret signs as well; null: only the newest signs. */
  former_secret_until: string | null
  /** When it was added. */
  created_at: string
}

/** An endpoint that was just added. */
export type CreatedWebhook = {
  id: string
  /** http or https, without user and password. */
  url: string
  /** Event types; `*` means all but message.attempted, which is to be named. */
  events: (string)[]
  /** Only events of mails from exactly these sender domains (a subdomain is another); empty: all. */
  domains: (string)[]
  /** Only events of mails with one of these tags; empty: all. */
  tags: (string)[]
  /** Many events in one request: its body is an array, under one `webhook-id`, and comes again as it was. null (and the default): each event by itself. */
  batch: {
    /** Events in one request. */
    max_events?: number
    /** How long an event waits for others. */
    max_wait_ms?: number
  } | null
  status: 'enabled' | 'disabled'
  /** Why Valija disabled it; null when it did not. */
  disabled_reason: string | null
  /** Since when it is not told; what happened since is told when it is enabled. */
  disabled_at: string | null
  /** Since when no try has succeeded; null: the last one did, there was none yet, or Valija disabled it (disabled_reason). */
  failing_since: string | null
  /** What the last try came to, while it fails or after Valija disabled it; null: nothing is wrong, or the try is not kept any more. */
  last_error: {
    /** null: there was no HTTP answer. */
    status_code: number | null
    /** What was wrong, where the status does not say it. */
    error: string | null
    /** When that try began. */
    at: string
  } | null
  /** What it has still to be told, as /pending lists it. */
  pending: {
    /** How many wait, counted up to 10,000, and in a list up to 1,000. */
    events: number
    /** false: there are more. */
    is_exact: boolean
  }
  /** Until when its former secret signs as well; null: only the newest signs. */
  former_secret_until: string | null
  /** When it was added. */
  created_at: string
  /** `whsec_…`, by which signatures are checked: shown this once. */
  secret: string
}

export type WebhookInput = {
  /** http or https, without user and password. */
  url: string
  /** Event types; `*` means all but message.attempted, which is to be named. */
  events: (string)[]
  /** Only events of mails from exactly these sender domains (a subdomain is another); empty: all. */
  domains?: (string)[]
  /** Only events of mails with one of these tags; empty: all. */
  tags?: (string)[]
  /** Many events in one request: its body is an array, under one `webhook-id`, and comes again as it was. null (and the default): each event by itself. */
  batch?: {
    /** Events in one request. */
    max_events?: number
    /** How long an event waits for others. */
    max_wait_ms?: number
  } | null
}

export type WebhookChange = {
  /** http or https, without user and password. */
  url?: string
  /** Event types; `*` means all but message.attempted, which is to be named. */
  events?: (string)[]
  /** Only events of mails from exactly these sender domains (a subdomain is another); empty: all. */
  domains?: (string)[]
  /** Only events of mails with one of these tags; empty: all. */
  tags?: (string)[]
  /** Many events in one request: its body is an array, under one `webhook-id`, and comes again as it was. null (and the default): each event by itself. */
  batch?: {
    /** Events in one request. */
    max_events?: number
    /** How long an event waits for others. */
    max_wait_ms?: number
  } | null
  status?: 'enabled' | 'disabled'
}

/** One try to tell an endpoint of one event. */
export type WebhookDelivery = {
  id: string
  /** Also the `webhook-id` that the endpoint saw, unless there is a batch_id. */
  event_id: string
  /** The `webhook-id` of the batch that it was told in. */
  batch_id: string | null
  type: 'message.accepted' | 'message.scheduled' | 'message.suppressed' | 'message.attempted' | 'message.delivered' | 'message.deferred' | 'message.late' | 'message.bounced' | 'message.failed' | 'message.cancelled' | 'message.complained' | 'message.opened' | 'message.clicked' | 'message.unsubscribed' | 'domain.verified' | 'domain.failed' | 'suppression.added' | 'suppression.removed' | 'destination.throttled' | 'destination.recovered' | 'route.down' | 'route.recovered' | 'tenant.paused' | 'tenant.alarm' | 'tenant.resumed' | 'quota.reached' | 'webhook.disabled'
  /** Which try of this event at this endpoint, from 1. */
  number: number
  /** `delivered` or `failed`. */
  outcome: string
  /** null: there was no HTTP answer. */
  status_code: number | null
  /** What was wrong, where the status does not say it. */
  error: string | null
  /** The beginning of the answer’s body. */
  response_start: string | null
  /** When the try began. */
  started_at: string
  duration_ms: number
  /** When it is tried again; null: not. */
  next_try_at: string | null
}

/** An event that an endpoint has still to be told of. */
export type PendingWebhook = {
  /** The event. */
  event_id: string
  type: 'message.accepted' | 'message.scheduled' | 'message.suppressed' | 'message.attempted' | 'message.delivered' | 'message.deferred' | 'message.late' | 'message.bounced' | 'message.failed' | 'message.cancelled' | 'message.complained' | 'message.opened' | 'message.clicked' | 'message.unsubscribed' | 'domain.verified' | 'domain.failed' | 'suppression.added' | 'suppression.removed' | 'destination.throttled' | 'destination.recovered' | 'route.down' | 'route.recovered' | 'tenant.paused' | 'tenant.alarm' | 'tenant.resumed' | 'quota.reached' | 'webhook.disabled'
  /** When the event happened. */
  timestamp: string
  /** Tries made so far. */
  tries: number
  status: 'waiting' | 'sending'
  /** When it is tried; null: at this moment, or not while it is disabled. */
  next_try_at: string | null
}

/** Whether an endpoint was told of an event. */
export type EventAtWebhook = {
  /** The event. */
  event_id: string
  type: 'message.accepted' | 'message.scheduled' | 'message.suppressed' | 'message.attempted' | 'message.delivered' | 'message.deferred' | 'message.late' | 'message.bounced' | 'message.failed' | 'message.cancelled' | 'message.complained' | 'message.opened' | 'message.clicked' | 'message.unsubscribed' | 'domain.verified' | 'domain.failed' | 'suppression.added' | 'suppression.removed' | 'destination.throttled' | 'destination.recovered' | 'route.down' | 'route.recovered' | 'tenant.paused' | 'tenant.alarm' | 'tenant.resumed' | 'quota.reached' | 'webhook.disabled'
  /** When the event happened. */
  timestamp: string
  status: 'delivered' | 'sending' | 'waiting' | 'not_told'
  /** The status in a sentence, and what to do. */
  summary: string
  /** When it is tried again; null: not. */
  next_try_at: string | null
  /** The last 100, newest first. */
  tries: (WebhookDelivery)[]
}

/** A webhook’s new secret. */
export type RotatedSecret = {
  /** `whsec_…`, the new secret: shown this once. */
  secret: string
  /** Until when the former secret signs as well; null: no more. */
  former_secret_until: string | null
}

/** One of event_id, after, failed. */
export type WebhookReplayInput = {
  /** This event, whatever the webhook asks for. */
  event_id?: string
  /** What happened at or after, and the webhook asks for. */
  after?: string
  /** With after: what happened before. Absent: up to now. */
  before?: string
  /** With after: only these types. */
  types?: (string)[]
  /** All that waits for a later try, now. */
  failed?: true
}

/** What will be told again. */
export type WebhookReplay = {
  /** How many events will be told, counted among the first 2,000. */
  events: number
  /** false: more than 2,000 would have to be looked at; all that are meant will be told. */
  is_exact: boolean
}

/** What the endpoint said to a test event. */
export type WebhookTest = {
  /** The endpoint answered with success (2xx). */
  ok: boolean
  /** The id of the test event. */
  event_id: string
  /** The header `webhook-id` that the endpoint saw: in Standard Webhooks the id of what is told, here that of the event; not the id of the webhook. */
  webhook_id: string
  /** null: there was no HTTP answer. */
  status_code: number | null
  /** What was wrong, where the status does not say it. */
  error: string | null
  /** The beginning of the answer’s body. */
  response_start: string | null
  duration_ms: number
}

/** A DNS record to publish, and what was found. */
export type DnsRecord = {
  purpose: 'ownership' | 'dkim' | 'return_path' | 'spf' | 'dmarc' | 'tracking'
  type: 'TXT' | 'CNAME'
  /** Its full name. */
  name: string
  /** Its name below the registered domain, as forms of DNS providers ask for it; `@` for that domain itself. */
  host: string
  value: string
  /** Of MX records. */
  priority: number | null
  /** Without ownership the domain is not verified, without dkim its mails are not signed. */
  required: boolean
  /** Of a DKIM key: next (signs once its record is seen), active, or retiring (signs no more, its record is to stay for a while). */
  state: 'next' | 'active' | 'retiring' | null
  status: 'ok' | 'missing' | 'wrong' | 'unchecked'
  /** What DNS answered at the last look. */
  found: (string)[]
  /** What is wrong, as a word: missing, no_answer, doubled_name, wrong_name, wildcard, alias_beside_records, dangling_alias, not_an_alias, wrong_target, doubled_target, several_records, split_over_records, wrong_token, quoted, escaped, malformed, cut_off, overlong, wrong_key, wrong_key_type, revoked, restricted, several_spf, spf_too_many_lookups, spf_too_many_voids, spf_malformed, spf_allows_all, spf_lacks_sender, several_dmarc, dmarc_malformed, dmarc_report_address. */
  fault: string | null
  /** What was found to be wrong, and what to do about it. */
  fix: string
  /** When DNS was asked last. */
  checked_at: string | null
  /** Which of the installation’s resolvers answered: `the resolver`, or `resolver 2` of several. Their addresses are the operator’s to know. */
  resolver: string | null
}

/** A sender domain. */
export type Domain = {
  id: string
  /** In A-labels. */
  name: string
  status: 'pending' | 'verified' | 'failed'
  /** The operator stands in for it. */
  vouched: boolean
  /** Signed although DNS was not asked. */
  dkim: boolean
  /** How its mails are signed. */
  dkim_algorithms: ('rsa' | 'ed25519')[]
  /** What bounces come back to, once its record is seen. */
  return_path_host: string
  /** When its ownership was seen; null before. */
  verified_at: string | null
  /** Since when the ownership record has been missing. */
  failing_since: string | null
  /** When a verified domain without its ownership record becomes failed, and stops sending. */
  sending_stops_at: string | null
  /** How it stands and what is still to be published or mended, in one sentence. */
  summary: string
  records: (DnsRecord)[]
  /** Which records are left out for how the installation is set up. */
  notes: (string)[]
  /** When it was added. */
  created_at: string
}

export type DomainInput = {
  /** At least two labels; a name that is not ASCII is converted (IDNA). */
  name: string
  /** Operator only: verified without DNS. */
  vouched?: boolean
  /** Operator only, for vouched domains: sign without looking at DNS. */
  dkim?: boolean
  /** How its mails are signed: RSA-2048, Ed25519, or both (the default). */
  dkim_algorithms?: ('rsa' | 'ed25519')[]
  /** The name below the domain that bounces come back to, an alias (CNAME) of ours; `bounce` when it was never said. */
  return_path_host?: string
}

export type DomainChange = {
  /** Operator only: verified without DNS. */
  vouched?: boolean
  /** Operator only, for vouched domains: sign without looking at DNS. */
  dkim?: boolean
  /** How its mails are signed: RSA-2048, Ed25519, or both (the default). */
  dkim_algorithms?: ('rsa' | 'ed25519')[]
  /** The name below the domain that bounces come back to, an alias (CNAME) of ours; `bounce` when it was never said. */
  return_path_host?: string
}

export type RotationInput = {
  /** Keys of your own, one of each algorithm at most. Absent: they are made here. */
  keys?: ({
    /** In PEM, without a passphrase: RSA of 1024 to 4096 bits, or Ed25519. It is never shown again. */
    private_key: string
    /** The name of its record before `._domainkey`; made up if absent. */
    selector?: string
  })[]
} | null

/** What DMARC aggregate reports say (RFC 7489, RFC 9990). */
export type DmarcSum = {
  /** How many reports were summed up. */
  reports: number
  /** Mails with this domain in From. */
  messages: number
  /** Of them with a valid signature, or a passed SPF, of the domain in From. */
  passed: number
  /** passed / messages; null without messages. */
  pass_share: number | null
  dispositions: {
    /** Not held against them. */
    none: number
    /** Put aside. */
    quarantine: number
    /** Refused. */
    reject: number
  }
  /** The 20 that saw most. */
  reporters: ({
    /** By its own word. */
    name: string
    /** Mails that it saw. */
    messages: number
    /** Of them passed. */
    passed: number
  })[]
  /** Where mails came from that did not pass: the 20 largest. */
  failing_sources: ({
    /** Null: the rest of a report that had too many. */
    ip: string | null
    /** One of the addresses that this installation sends from. */
    ours: boolean
    /** The domain in From. */
    header_from: string | null
    /** The domain of another valid signature. */
    signed_by: string | null
    /** The domain for which SPF passed. */
    spf_domain: string | null
    /** Mails that did not pass. */
    messages: number
    /** Of them put aside or refused. */
    blocked: number
    cause: 'own_signature_broken' | 'own_unsigned' | 'not_aligned' | 'forwarded' | 'other_service' | 'unauthenticated' | 'many_sources'
    /** What it means. */
    meaning: string
    /** What to do. */
    fix: string
  })[]
}

/** What TLS reports say about mail to this domain (RFC 8460). */
export type TlsSum = {
  /** How many reports were summed up. */
  reports: number
  /** Sessions with hosts that take mail for this domain. */
  sessions: number
  /** Of them without the TLS that was wanted. */
  failed: number
  /** Of the sessions; null without any. */
  success_share: number | null
  /** The 20 that had most. */
  reporters: ({
    /** By its own word. */
    name: string
    /** Sessions that it had. */
    sessions: number
    /** Of them failed. */
    failed: number
  })[]
  /** The 20 most frequent. */
  failures: ({
    /** By its name in RFC 8460, section 4.3; or unspecified, or what the reporter calls it. */
    reason: string
    /** The receiving host, where it is told. */
    mx: string | null
    /** What applied. */
    policy: 'tlsa' | 'sts' | 'no-policy-found'
    /** Sessions that failed so. */
    sessions: number
    /** What it means. */
    meaning: string
    /** What to do. */
    fix: string
  })[]
}

/** What was reported about a day; null where nobody did. */
export type ReportDay = {
  /** In UTC; of a report, the day that its middle lies in. */
  day: string
  dmarc: DmarcSum | null
  tls: TlsSum | null
}

/** A template, layout or partial as its newest version is. */
export type Template = {
  id: string
  /** What it is named by, unique among all of the tenant: 1 to 64 lower-case letters, digits, _ and -. */
  slug: string
  /** For people, at most 200 characters; the slug if absent. */
  name: string
  /** What `{% layout %}` names is a layout, what `{% render %}` and `{% include %}` name is a partial. */
  kind: 'template' | 'layout' | 'partial'
  /** The newest version. */
  version: number
  /** The version that is sent; null: none yet. */
  published_version: number | null
  /** When it was made. */
  created_at: string
  /** When it was changed or published last. */
  updated_at: string
  /** One line, with variables: `Your receipt {{ number }}`. */
  subject: string | null
  /** Liquid; null: made from html. */
  text: string | null
  /** Liquid; what variables put in is escaped, unless `| raw` says otherwise. */
  html: string | null
  /** What it takes. Empty: anything, and whatever it uses must be given. */
  variables: ({
    /** Letters, digits, _ and -. */
    name: string
    type: 'string' | 'number' | 'boolean' | 'date' | 'url' | 'array' | 'object'
    /** false: may be absent, and is null then. Absent: true, unless there is a default. */
    required?: boolean
    /** Stands in for one that is absent. */
    default?: unknown
  })[]
}

/** A template, layout or partial, without what it holds. */
export type TemplateSummary = {
  id: string
  /** What it is named by, unique among all of the tenant: 1 to 64 lower-case letters, digits, _ and -. */
  slug: string
  /** For people, at most 200 characters; the slug if absent. */
  name: string
  /** What `{% layout %}` names is a layout, what `{% render %}` and `{% include %}` name is a partial. */
  kind: 'template' | 'layout' | 'partial'
  /** The newest version. */
  version: number
  /** The version that is sent; null: none yet. */
  published_version: number | null
  /** When it was made. */
  created_at: string
  /** When it was changed or published last. */
  updated_at: string
}

/** Required: slug, and subject with text or html; a layout or partial has no subject. */
export type TemplateInput = {
  /** What it is named by, unique among all of the tenant: 1 to 64 lower-case letters, digits, _ and -. */
  slug: string
  /** For people, at most 200 characters; the slug if absent. */
  name?: string
  /** What `{% layout %}` names is a layout, what `{% render %}` and `{% include %}` name is a partial. */
  kind?: 'template' | 'layout' | 'partial'
  /** One line, with variables: `Your receipt {{ number }}`. */
  subject?: string | null
  /** Liquid; null: made from html. */
  text?: string | null
  /** Liquid; what variables put in is escaped, unless `| raw` says otherwise. */
  html?: string | null
  /** What it takes. Empty: anything, and whatever it uses must be given. */
  variables?: ({
    /** Letters, digits, _ and -. */
    name: string
    type: 'string' | 'number' | 'boolean' | 'date' | 'url' | 'array' | 'object'
    /** false: may be absent, and is null then. Absent: true, unless there is a default. */
    required?: boolean
    /** Stands in for one that is absent. */
    default?: unknown
  })[]
  /** Whether the new version is the one that is sent from now on. */
  publish?: boolean
}

export type TemplateChange = {
  /** What it is named by, unique among all of the tenant: 1 to 64 lower-case letters, digits, _ and -. */
  slug?: string
  /** For people, at most 200 characters; the slug if absent. */
  name?: string
  /** One line, with variables: `Your receipt {{ number }}`. */
  subject?: string | null
  /** Liquid; null: made from html. */
  text?: string | null
  /** Liquid; what variables put in is escaped, unless `| raw` says otherwise. */
  html?: string | null
  /** What it takes. Empty: anything, and whatever it uses must be given. */
  variables?: ({
    /** Letters, digits, _ and -. */
    name: string
    type: 'string' | 'number' | 'boolean' | 'date' | 'url' | 'array' | 'object'
    /** false: may be absent, and is null then. Absent: true, unless there is a default. */
    required?: boolean
    /** Stands in for one that is absent. */
    default?: unknown
  })[]
  /** Whether the new version is the one that is sent from now on. */
  publish?: boolean
}

export type TemplatePublication = {
  /** Absent: the newest, published or not. */
  version?: number
} | null

/** A version, which never changes. */
export type TemplateVersion = {
  id: string
  /** Its number, from 1. */
  version: number
  /** Of subject, text and html. */
  size_bytes: number
  /** Whether it is the one that is sent. */
  is_published: boolean
  /** When it was made. */
  created_at: string
  /** When it was published first; null: never. */
  published_at: string | null
  /** One line, with variables: `Your receipt {{ number }}`. */
  subject: string | null
  /** Liquid; null: made from html. */
  text: string | null
  /** Liquid; what variables put in is escaped, unless `| raw` says otherwise. */
  html: string | null
  /** What it takes. Empty: anything, and whatever it uses must be given. */
  variables: ({
    /** Letters, digits, _ and -. */
    name: string
    type: 'string' | 'number' | 'boolean' | 'date' | 'url' | 'array' | 'object'
    /** false: may be absent, and is null then. Absent: true, unless there is a default. */
    required?: boolean
    /** Stands in for one that is absent. */
    default?: unknown
  })[]
}

/** A version, without what it holds. */
export type TemplateVersionSummary = {
  id: string
  /** Its number, from 1. */
  version: number
  /** Of subject, text and html. */
  size_bytes: number
  /** Whether it is the one that is sent. */
  is_published: boolean
  /** When it was made. */
  created_at: string
  /** When it was published first; null: never. */
  published_at: string | null
}

export type TemplateTrial = {
  /** Absent: the newest, published or not. */
  version?: number
  /** The values of its variables. */
  variables?: Record<string, unknown>
}

export type TemplateTest = {
  to?: AddressListInput
  from?: AddressInput
  /** Absent: the newest, published or not. */
  version?: number
  /** The values of its variables. */
  variables?: Record<string, unknown>
}

/** What a template renders to. */
export type TemplateRendering = {
  version: number
  /** null: of a layout or partial. */
  subject: string | null
  /** Made from html where it has none. */
  text: string | null
  html: string | null
  warnings: ({
    /** `variable_unused`; new ones may come. */
    code: string
    message: string
  })[]
}

/** An address that is not sent to. */
export type Suppression = {
  id: string
  /** In canonical form. The case of the local part does not matter for what it stops. */
  email: string
  /** The stream that it stops; null: both. */
  stream: 'transactional' | 'bulk' | null
  /** manual: somebody added it. mailbox_*: what a server said. complaint, unsubscribe: its owner. */
  reason: 'manual' | 'mailbox_unknown' | 'mailbox_disabled' | 'mailbox_full' | 'complaint' | 'unsubscribe'
  /** quarantined: not sure enough yet; it stops nothing until it is confirmed. removed: it was on the list. */
  status: 'active' | 'quarantined' | 'removed'
  /** The message that caused it. */
  message_id: string | null
  /** What the server said. */
  reply: string | null
  /** When it was added. */
  created_at: string
  /** Whose server said so; null where a person did. */
  provider: string | null
  /** Of what was taken off the list. */
  removed: {
    /** When. */
    at: string
    /** deleted: by its id. undone: by provider and time. resubscribed: by its owner. */
    how: 'deleted' | 'undone' | 'resubscribed'
    /** The key that did; null: the operator, or the owner. */
    key_id: string | null
  } | null
}

export type SuppressionInput = {
  /** An address, without a name. */
  email: string
  /** Only for this stream; absent or null: for both. */
  stream?: 'transactional' | 'bulk' | null
}

export type SuppressionChange = {
  /** Puts a quarantined entry in force. To give the address free, delete the entry. */
  status?: 'active'
  /** The stream that it stops; null: both. */
  stream?: 'transactional' | 'bulk' | null
}

/** What became of an imported list. */
export type SuppressionImport = {
  dry_run: boolean
  /** Lines with content, without the first. */
  rows: number
  /** Addresses that are suppressed now and were not before. */
  added: number
  /** Suppressed already, or twice in the file. */
  present: number
  /** Their status says that they stop nothing. */
  skipped: number
  /** Lines with a fault. */
  rejected: number
  /** The first 1,000 faults. */
  errors: ({
    /** Of the file, from 1. */
    line: number
    column: string | null
    message: string
  })[]
  ignored_columns: (string)[]
}

/** Which entries to undo. Those that people made, complaints and unsubscribes are never among them. */
export type SuppressionUndo = {
  /** Whose servers said so: as the entries name it. It, or a domain, or both. */
  provider?: string
  /** Of the addresses. */
  domain?: string
  /** Absent: whatever servers say of a mailbox. */
  reason?: 'mailbox_unknown' | 'mailbox_disabled' | 'mailbox_full'
  /** Entries that were added at this time or later. */
  after: string
  /** And before this one; absent: until now. */
  before?: string
  /** Change nothing, and answer how many there are. */
  dry_run?: boolean
}

/** The deletion of what is kept about one person. */
export type Erasure = {
  id: string
  /** pending: workers are at it, or wait until a mail to several has its end for the others. */
  status: 'pending' | 'done'
  /** What stands for the address from now on: the same each time, and not to be found by trying addresses. */
  placeholder: string
  /** Mails to the address that could not be stopped any more when they were looked at last. */
  being_sent: number
  /** What was done so far. */
  counts: {
    /** Recipients that were to be sent to, and are not. */
    cancelled: number
    /** Recipients whose address was replaced. */
    recipients: number
    /** Contents that were deleted, or rid of the address where others had the mail as well. */
    bodies: number
    /** Events that were rid of the address and of what servers said. */
    events: number
    /** Attempts that were rid of what servers said, and of their conversation. */
    attempts: number
  }
  /** When it was asked for. */
  requested_at: string
  /** When it was done; null while it is pending. */
  completed_at: string | null
}

export type ErasureInput = {
  /** An address, without a name. The case of its local part does not matter. */
  email: string
}

/** A mail that was caught, in a list. */
export type InboxEntry = {
  id: string
  /** When it was caught. */
  received_at: string
  /** The envelope’s sender; empty: the null sender. */
  mail_from: string
  /** The envelope’s recipients. */
  rcpt_to: (string)[]
  /** The header field From, decoded. */
  from: string
  /** The header field To, decoded. */
  to: string
  /** The header field Subject, decoded. */
  subject: string
  /** The header field Message-ID. */
  rfc_message_id: string | null
  /** Of the raw mail. */
  size_bytes: number
}

/** A mail that was caught, taken apart. */
export type InboxMail = {
  id: string
  /** When it was caught. */
  received_at: string
  /** The envelope’s sender; empty: the null sender. */
  mail_from: string
  /** The envelope’s recipients. */
  rcpt_to: (string)[]
  /** The header field From, decoded. */
  from: string
  /** The header field To, decoded. */
  to: string
  /** The header field Subject, decoded. */
  subject: string
  /** The header field Message-ID. */
  rfc_message_id: string | null
  /** Of the raw mail. */
  size_bytes: number
  /** All header fields in their order, decoded. */
  headers: ({
    name: string
    value: string
  })[]
  /** As the sender wrote it. */
  text: string | null
  /** As the sender wrote it: show it in a sandbox only. */
  html: string | null
  attachments: ({
    filename: string | null
    content_type: string
    /** What `cid:` links in html name it by. */
    content_id: string | null
    size_bytes: number
  })[]
}

/** A named way that mail can take. */
export type Route = {
  id: string
  /** What mails, keys and lists name it by: lower-case letters, digits, hyphens. It cannot be changed. */
  name: string
  /** smarthost: a relay. mx: the mail exchangers of the recipients; capture: the inbox (both with the operator’s key only). */
  kind: 'mx' | 'smarthost' | 'capture'
  /** The operator’s, for all tenants; where it leads is shown to the operator only. */
  shared: boolean
  /** Name or IP address of the relay. */
  host: string | null
  /** 587; with implicit TLS 465. */
  port: number | null
  tls: 'implicit' | 'required' | 'opportunistic' | 'off' | null
  user: string | null
  has_password: boolean
  /** The envelope sender. verp: an address of ours for each recipient (VALIJA_BOUNCE_DOMAIN; without it as from). from: the address in From. fixed: return_path_address. */
  return_path: 'verp' | 'from' | 'fixed'
  /** The envelope sender for return_path fixed. */
  return_path_address: string | null
  /** The relay rewrites Date and Message-ID, as Amazon SES does: DKIM leaves them unsigned. */
  rewrites_ids: boolean
  /** The pool of source addresses that it leaves from (operator only); null: the usual one. */
  pool: string | null
  /** Mail for a paused route waits, or takes the next of its list. */
  state: 'enabled' | 'paused'
  /** manual, or login_refused: the relay refused the login. */
  paused_reason: string | null
  /** What the relay answered. */
  paused_reply: string | null
  /** When the pause ends by itself; null: when somebody resumes it. */
  paused_until: string | null
  /** Since when it cannot be used; null while it can. */
  down_since: string | null
  /** Why: what the relay or the network said. */
  down_reply: string | null
  /** When it was made. */
  created_at: string
}

export type RouteInput = {
  /** What mails, keys and lists name it by: lower-case letters, digits, hyphens. It cannot be changed. */
  name: string
  /** smarthost: a relay. mx: the mail exchangers of the recipients; capture: the inbox (both with the operator’s key only). */
  kind: 'mx' | 'smarthost' | 'capture'
  /** Name or IP address of the relay. */
  host?: string
  /** 587; with implicit TLS 465. */
  port?: number
  /** implicit: TLS from the first byte, verified (usual on 465). required: STARTTLS, verified. opportunistic: STARTTLS where it is offered; the login is only sent over a verified connection or inside a private network. off: none. */
  tls?: 'implicit' | 'required' | 'opportunistic' | 'off'
  /** For the login; null: none. */
  user?: string | null
  /** Sealed at rest and never shown. */
  password?: string | null
  /** The envelope sender. verp: an address of ours for each recipient (VALIJA_BOUNCE_DOMAIN; without it as from). from: the address in From. fixed: return_path_address. */
  return_path?: 'verp' | 'from' | 'fixed'
  /** The envelope sender for return_path fixed. */
  return_path_address?: string | null
  /** The relay rewrites Date and Message-ID, as Amazon SES does: DKIM leaves them unsigned. */
  rewrites_ids?: boolean
  /** The pool of source addresses that it leaves from (operator only); null: the usual one. */
  pool?: string | null
}

export type RouteChange = {
  /** Name or IP address of the relay. */
  host?: string
  /** 587; with implicit TLS 465. */
  port?: number
  /** implicit: TLS from the first byte, verified (usual on 465). required: STARTTLS, verified. opportunistic: STARTTLS where it is offered; the login is only sent over a verified connection or inside a private network. off: none. */
  tls?: 'implicit' | 'required' | 'opportunistic' | 'off'
  /** For the login; null: none. */
  user?: string | null
  /** Sealed at rest and never shown. */
  password?: string | null
  /** The envelope sender. verp: an address of ours for each recipient (VALIJA_BOUNCE_DOMAIN; without it as from). from: the address in From. fixed: return_path_address. */
  return_path?: 'verp' | 'from' | 'fixed'
  /** The envelope sender for return_path fixed. */
  return_path_address?: string | null
  /** The relay rewrites Date and Message-ID, as Amazon SES does: DKIM leaves them unsigned. */
  rewrites_ids?: boolean
  /** The pool of source addresses that it leaves from (operator only); null: the usual one. */
  pool?: string | null
  /** Mail for a paused route waits, or takes the next of its list. */
  state?: 'enabled' | 'paused'
  /** When the pause ends by itself. */
  paused_until?: string | null
}

/** Which routes the mails of a tenant, a sender domain, a stream take. */
export type RouteList = {
  id: string
  /** The sender domain that it is for, with what lies below it; null: all. */
  domain: string | null
  stream: 'transactional' | 'bulk' | null
  routes: ({
    /** Name of a route; capture, and smarthost or mx (as VALIJA_DELIVERY says), are always there. */
    route: string
    /** Its share of the recipients, against the others of the list that are no backups. */
    weight: number
    /** Taken only while none of the others can be. */
    backup: boolean
  })[]
  /** When it was made. */
  created_at: string
}

export type RouteListInput = {
  /** The sender domain that it is for, with what lies below it; null: all. */
  domain?: string | null
  stream?: 'transactional' | 'bulk' | null
  routes: ({
    /** Name of a route; capture, and smarthost or mx (as VALIJA_DELIVERY says), are always there. */
    route: string
    /** Its share of the recipients, against the others of the list that are no backups. */
    weight?: number
    /** Taken only while none of the others can be. */
    backup?: boolean
  })[]
}

export type RouteListChange = {
  routes?: ({
    /** Name of a route; capture, and smarthost or mx (as VALIJA_DELIVERY says), are always there. */
    route: string
    /** Its share of the recipients, against the others of the list that are no backups. */
    weight?: number
    /** Taken only while none of the others can be. */
    backup?: boolean
  })[]
}

/** A mailbox in which bounces and complaints land. */
export type Mailbox = {
  id: string
  /** For people. */
  name: string
  /** imap: what was applied is moved to done_folder, and news are heard of at once. pop3: what was applied is deleted. */
  protocol: 'imap' | 'pop3'
  /** Name or IP address of the server. */
  host: string
  /** IMAP: 993, or 143 with STARTTLS. POP3: 995, or 110. */
  port: number
  /** implicit: TLS from the first byte. starttls: from the command STARTTLS or STLS on, or not at all. none: the login goes over the network as it is. The certificate must be valid for host. */
  tls: 'implicit' | 'starttls' | 'none'
  /** For the login. */
  user: string
  /** IMAP: the folder that is read. */
  folder: string | null
  /** IMAP: where mails that were applied are moved to. */
  done_folder: string | null
  /** A paused one is not looked at. */
  state: 'enabled' | 'paused'
  /** new: not looked at yet. */
  status: 'new' | 'ok' | 'failing' | 'paused'
  /** The last look that went well; null: none yet. */
  last_look_at: string | null
  /** The next look; with IMAP news are heard of before. null while it is paused. */
  next_look_at: string | null
  /** The first look that failed since one went well; null while it does. */
  failing_since: string | null
  /** Looks in a row that failed. */
  failures: number
  error: MailboxError | null
  /** Mails so far. */
  counts: {
    /** Bounces and complaints that changed something. */
    applied: number
    /** DMARC and TLS reports that were kept. */
    reports: number
    /** Reports that changed nothing: seen before, forged, of mail that is unknown here. */
    ignored: number
    /** All other mails; they stay where they are. */
    other: number
  }
  /** When it was made. */
  created_at: string
}

export type MailboxInput = {
  /** For people. */
  name: string
  /** imap: what was applied is moved to done_folder, and news are heard of at once. pop3: what was applied is deleted. */
  protocol: 'imap' | 'pop3'
  /** Name or IP address of the server. */
  host: string
  /** IMAP: 993, or 143 with STARTTLS. POP3: 995, or 110. */
  port: number
  /** For the login. */
  user: string
  /** Sealed at rest and never shown. */
  password: string
  /** implicit: TLS from the first byte. starttls: from the command STARTTLS or STLS on, or not at all. none: the login goes over the network as it is. The certificate must be valid for host. true (the default): starttls on 143 and 110, else implicit; false: none. */
  tls?: 'implicit' | 'starttls' | 'none' | true | false
  /** IMAP: the folder that is read; INBOX when absent. */
  folder?: string
  /** IMAP: where mails that were applied are moved to; made if it is not there. `Valija` when absent. */
  done_folder?: string
  /** A paused one is not looked at. */
  state?: 'enabled' | 'paused'
}

export type MailboxChange = {
  /** For people. */
  name?: string
  /** Name or IP address of the server. */
  host?: string
  /** IMAP: 993, or 143 with STARTTLS. POP3: 995, or 110. */
  port?: number
  /** implicit: TLS from the first byte. starttls: from the command STARTTLS or STLS on, or not at all. none: the login goes over the network as it is. The certificate must be valid for host. true (the default): starttls on 143 and 110, else implicit; false: none. */
  tls?: 'implicit' | 'starttls' | 'none' | true | false
  /** For the login. */
  user?: string
  /** Sealed at rest and never shown. */
  password?: string
  /** IMAP: the folder that is read; INBOX when absent. */
  folder?: string
  /** IMAP: where mails that were applied are moved to; made if it is not there. `Valija` when absent. */
  done_folder?: string
  /** A paused one is not looked at. */
  state?: 'enabled' | 'paused'
}

/** Why a mailbox cannot be read. */
export type MailboxError = {
  code: 'name_unavailable' | 'address_refused' | 'unreachable' | 'no_greeting' | 'tls_failed' | 'login_refused' | 'folder_missing' | 'busy' | 'not_moved' | 'too_many_mails' | 'connection_lost' | 'timeout' | 'protocol' | 'password_unreadable' | 'internal'
  /** What is the matter. */
  meaning: string
  /** What the server, the network or the library said. */
  detail: string
  /** What to do. */
  remedy: string
}

/** What came of a try. */
export type MailboxTest = {
  /** Whether it could be opened. */
  ok: boolean
  error: MailboxError | null
  /** How many mails are in it. */
  mails: number | null
  /** Whether new mail is heard of at once (IMAP’s IDLE), or at the next look. */
  tells_of_news: boolean | null
  /** How long it took. */
  duration_ms: number
}

/** An API key, without the key itself. */
export type Key = {
  id: string
  /** For people. */
  name: string
  /** Its first characters, to recognise it by. */
  hint: string
  /** What it may do; none implies another. */
  scopes: ('send' | 'read' | 'read:content' | 'manage')[]
  /** The only domains that it may send from; empty: all of the tenant. */
  domains: (string)[]
  /** The only networks (CIDR) or addresses that it may be used from; empty: all. */
  networks: (string)[]
  /** The route that its mails take; null: the usual one. */
  route: string | null
  /** The only recipients that it may send to: addresses, or whole domains as `@example.com`; empty: all. */
  recipients: (string)[]
  /** When it stops to work; null: never. */
  expires_at: string | null
  /** Those that are set. */
  limits: Record<string, unknown>
  /** When it was made. */
  created_at: string
}

/** An API key that was just made. */
export type CreatedKey = {
  id: string
  /** For people. */
  name: string
  /** Its first characters, to recognise it by. */
  hint: string
  /** What it may do; none implies another. */
  scopes: ('send' | 'read' | 'read:content' | 'manage')[]
  /** The only domains that it may send from; empty: all of the tenant. */
  domains: (string)[]
  /** The only networks (CIDR) or addresses that it may be used from; empty: all. */
  networks: (string)[]
  /** The route that its mails take; null: the usual one. */
  route: string | null
  /** The only recipients that it may send to: addresses, or whole domains as `@example.com`; empty: all. */
  recipients: (string)[]
  /** When it stops to work; null: never. */
  expires_at: string | null
  /** Those that are set. */
  limits: Record<string, unknown>
  /** When it was made. */
  created_at: string
  /** The key itself: shown this once, only a hash of it is kept. */
  key: string
}

export type KeyInput = {
  /** For people. */
  name: string
  /** What it may do; none implies another. */
  scopes: ('send' | 'read' | 'read:content' | 'manage')[]
  /** The only domains that it may send from; empty: all of the tenant. */
  domains?: (string)[]
  /** The only networks (CIDR) or addresses that it may be used from; empty: all. */
  networks?: (string)[]
  /** The route that its mails take; null: the usual one. */
  route?: string | null
  /** The only recipients that it may send to: addresses, or whole domains as `@example.com`; empty: all. */
  recipients?: (string)[]
  /** What the key may use and send at most, beside the limits of its tenant. A change leaves those that it does not name as they are; null ends one. */
  limits?: {
    /** Requests of any kind in a second, which begins with the first of them. Absent or null: no limit. */
    requests_per_second?: number | null
    /** Requests of any kind in a minute, which begins with the first of them. Absent or null: no limit. */
    requests_per_minute?: number | null
    /** Recipients of accepted messages in a minute, which begins with the first of them. Absent or null: no limit. */
    recipients_per_minute?: number | null
    /** Recipients of accepted messages in an hour, which begins with the first of them. Absent or null: no limit. */
    recipients_per_hour?: number | null
    /** Recipients of accepted messages in a day, from 00:00 UTC on. Absent or null: no limit. */
    recipients_per_day?: number | null
    /** Recipients of accepted messages in a calendar month (UTC). Absent or null: no limit. */
    recipients_per_month?: number | null
    /** Messages to one and the same address in an hour, which begins with the first of them: against forms that are abused to flood somebody’s mailbox. Absent or null: no limit. */
    recipients_per_hour_to_one_address?: number | null
    /** Octets of a message: text, html and 4/3 of the attachments, or the raw message. Beyond `VALIJA_MAX_MESSAGE_SIZE` it changes nothing. Absent or null: no limit. */
    max_message_bytes?: number | null
    /** Recipients of one message. Absent or null: no limit. */
    max_recipients?: number | null
    /** Attachments of one message that is not raw. Absent or null: no limit. */
    max_attachments?: number | null
  }
  /** When it stops to work; null: never. */
  expires_at?: string | null
}

export type KeyChange = {
  /** For people. */
  name?: string
  /** What it may do; none implies another. */
  scopes?: ('send' | 'read' | 'read:content' | 'manage')[]
  /** The only domains that it may send from; empty: all of the tenant. */
  domains?: (string)[]
  /** The only networks (CIDR) or addresses that it may be used from; empty: all. */
  networks?: (string)[]
  /** The route that its mails take; null: the usual one. */
  route?: string | null
  /** The only recipients that it may send to: addresses, or whole domains as `@example.com`; empty: all. */
  recipients?: (string)[]
  /** What the key may use and send at most, beside the limits of its tenant. A change leaves those that it does not name as they are; null ends one. */
  limits?: {
    /** Requests of any kind in a second, which begins with the first of them. Absent or null: no limit. */
    requests_per_second?: number | null
    /** Requests of any kind in a minute, which begins with the first of them. Absent or null: no limit. */
    requests_per_minute?: number | null
    /** Recipients of accepted messages in a minute, which begins with the first of them. Absent or null: no limit. */
    recipients_per_minute?: number | null
    /** Recipients of accepted messages in an hour, which begins with the first of them. Absent or null: no limit. */
    recipients_per_hour?: number | null
    /** Recipients of accepted messages in a day, from 00:00 UTC on. Absent or null: no limit. */
    recipients_per_day?: number | null
    /** Recipients of accepted messages in a calendar month (UTC). Absent or null: no limit. */
    recipients_per_month?: number | null
    /** Messages to one and the same address in an hour, which begins with the first of them: against forms that are abused to flood somebody’s mailbox. Absent or null: no limit. */
    recipients_per_hour_to_one_address?: number | null
    /** Octets of a message: text, html and 4/3 of the attachments, or the raw message. Beyond `VALIJA_MAX_MESSAGE_SIZE` it changes nothing. Absent or null: no limit. */
    max_message_bytes?: number | null
    /** Recipients of one message. Absent or null: no limit. */
    max_recipients?: number | null
    /** Attachments of one message that is not raw. Absent or null: no limit. */
    max_attachments?: number | null
  }
  /** When it stops to work; null: never. */
  expires_at?: string | null
}

/** An action of the management. */
export type AuditEntry = {
  id: string
  /** When it was done. */
  timestamp: string
  /** Such as `webhook.created`, `key.revoked`, `tenant.changed`. */
  action: string
  /** The id of what was changed; null where it is many. */
  target: string | null
  /** What of it was changed, by the names of the store; values are not kept. */
  fields: (string)[]
  /** Of how many things this is the entry; 0: it was done, and changed nothing. */
  count: number
  actor: {
    type: 'key' | 'operator'
    key_id: string | null
    /** Its name now, also of a key that was revoked. */
    key_name: string | null
  }
  /** From where it was asked for; `local`: by a command at the database. Null: from where the operator did. */
  client_ip: string | null
  request_id: string
  /** Null: the operator’s alone. */
  tenant_id: string | null
}

/** A tenant of this installation. */
export type Tenant = {
  /** What the header Valija-Tenant takes. */
  id: string
  /** Unique in this installation. */
  name: string
  /** Its share of the sending, against the weights of the other tenants that have something to send. */
  weight: number
  limits: Record<string, unknown>
  /** When a mail was handed over whole and no reply came, it may have arrived. false: it is sent again, with the same Message-ID and content, so it may arrive twice. true: it is not, and its recipient ends as failed (reason network, `uncertain` in its attempt and event). Heeded from the next attempt on. */
  at_most_once: boolean
  /** suspended: sends are answered 403 `tenant_suspended`, and what was accepted is held; nothing is lost, and its time (`expires_at`) does not run on. active again: it goes on at once. */
  status: 'active' | 'suspended'
  /** Since when it is suspended; null: it is not. */
  suspended_at: string | null
  /** Whether bulk mail is held, by the operator or by itself (`limits.alarms`): it is accepted, and waits; nothing is lost, and its time (`expires_at`) does not run on. Other mail goes on. false again: it goes on at once. */
  bulk_paused: boolean
  /** Why bulk mail is held; null: it is not. */
  bulk_pause: {
    /** Since when. */
    since: string
    /** Who or what held it: with a rate, by itself. */
    reason: 'operator' | 'bounce_rate' | 'complaint_rate'
    /** As a part of one. */
    rate?: number
    /** Which the rate exceeded. */
    limit?: number
    /** How many bounced hard, or were called spam. */
    count?: number
    /** What they are a part of. */
    volume?: number
    /** Over what time. */
    hours?: number
  } | null
  /** After so many days its mail is deleted with all that was written of it: recipients, attempts, events. null: after VALIJA_RETENTION_EVENTS, which is the longest. */
  retention_days: number | null
  /** After so many days the content of its mail is deleted: bodies, subjects, metadata, SMTP conversations, the inbox. What became of each recipient stays. No longer than VALIJA_RETENTION_CONTENT and `retention_days`, of which the shorter counts. null: bodies after VALIJA_RETENTION_CONTENT. */
  redact_after_days: number | null
  /** The tenant that `npm start` made. */
  is_default: boolean
  /** When it was made. */
  created_at: string
}

/** A tenant that was just made. */
export type CreatedTenant = {
  /** What the header Valija-Tenant takes. */
  id: string
  /** Unique in this installation. */
  name: string
  /** Its share of the sending, against the weights of the other tenants that have something to send. */
  weight: number
  limits: Record<string, unknown>
  /** When a mail was handed over whole and no reply came, it may have arrived. false: it is sent again, with the same Message-ID and content, so it may arrive twice. true: it is not, and its recipient ends as failed (reason network, `uncertain` in its attempt and event). Heeded from the next attempt on. */
  at_most_once: boolean
  /** suspended: sends are answered 403 `tenant_suspended`, and what was accepted is held; nothing is lost, and its time (`expires_at`) does not run on. active again: it goes on at once. */
  status: 'active' | 'suspended'
  /** Since when it is suspended; null: it is not. */
  suspended_at: string | null
  /** Whether bulk mail is held, by the operator or by itself (`limits.alarms`): it is accepted, and waits; nothing is lost, and its time (`expires_at`) does not run on. Other mail goes on. false again: it goes on at once. */
  bulk_paused: boolean
  /** Why bulk mail is held; null: it is not. */
  bulk_pause: {
    /** Since when. */
    since: string
    /** Who or what held it: with a rate, by itself. */
    reason: 'operator' | 'bounce_rate' | 'complaint_rate'
    /** As a part of one. */
    rate?: number
    /** Which the rate exceeded. */
    limit?: number
    /** How many bounced hard, or were called spam. */
    count?: number
    /** What they are a part of. */
    volume?: number
    /** Over what time. */
    hours?: number
  } | null
  /** After so many days its mail is deleted with all that was written of it: recipients, attempts, events. null: after VALIJA_RETENTION_EVENTS, which is the longest. */
  retention_days: number | null
  /** After so many days the content of its mail is deleted: bodies, subjects, metadata, SMTP conversations, the inbox. What became of each recipient stays. No longer than VALIJA_RETENTION_CONTENT and `retention_days`, of which the shorter counts. null: bodies after VALIJA_RETENTION_CONTENT. */
  redact_after_days: number | null
  /** The tenant that `npm start` made. */
  is_default: boolean
  /** When it was made. */
  created_at: string
  /** Its first API key, with all scopes: shown this once. */
  key: string
}

export type TenantInput = {
  /** Unique in this installation. */
  name: string
  /** Its share of the sending, against the weights of the other tenants that have something to send. */
  weight?: number
  /** What the tenant may do at most. A change leaves those that it does not name as they are, within `alarms` too; null ends one. */
  limits?: {
    /** Recipients of the tenant that may wait to be sent to at the same time; beyond it POST /send answers 429 `queue_full`. Absent or null: `VALIJA_MAX_QUEUED_PER_TENANT`. */
    queued?: number | null
    /** Requests of any kind in a second, which begins with the first of them. Absent or null: no limit. */
    requests_per_second?: number | null
    /** Requests of any kind in a minute, which begins with the first of them. Absent or null: no limit. */
    requests_per_minute?: number | null
    /** Recipients of accepted messages in a minute, which begins with the first of them. Absent or null: no limit. */
    recipients_per_minute?: number | null
    /** Recipients of accepted messages in an hour, which begins with the first of them. Absent or null: no limit. */
    recipients_per_hour?: number | null
    /** Recipients of accepted messages in a day, from 00:00 UTC on. Absent or null: no limit. */
    recipients_per_day?: number | null
    /** Recipients of accepted messages in a calendar month (UTC). Absent or null: no limit. */
    recipients_per_month?: number | null
    /** Messages to one and the same address in an hour, which begins with the first of them: against forms that are abused to flood somebody’s mailbox. Absent or null: no limit. */
    recipients_per_hour_to_one_address?: number | null
    /** Octets of a message: text, html and 4/3 of the attachments, or the raw message. Beyond `VALIJA_MAX_MESSAGE_SIZE` it changes nothing. Absent or null: no limit. */
    max_message_bytes?: number | null
    /** Recipients of one message. Absent or null: no limit. */
    max_recipients?: number | null
    /** Attachments of one message that is not raw. Absent or null: no limit. */
    max_attachments?: number | null
    /** When the rates of a stream over the last 24 hours are worth an alarm, an event `tenant.alarm`, once until they are well below again; and when they are so high that its bulk mail is held. */
    alarms?: {
      /** Hard bounces, of delivered and bounced, over which there is an alarm, as a part of one; 1: never. Absent or null: 0.05. */
      bounce_rate?: number | null
      /** Complaints, of delivered, over which there is an alarm, as a part of one; 1: never. Absent or null: 0.001. */
      complaint_rate?: number | null
      /** Deferred tries, of all that were answered, over which there is an alarm, as a part of one; 1: never. Absent or null: 0.3. */
      deferral_rate?: number | null
      /** Whether bulk mail is held when its own rates exceed the next two. Absent or null: true, but for the tenant of `npm start`. */
      pause_bulk?: boolean | null
      /** Hard bounces of bulk mail, over which it is held, as a part of one; 1: never. Absent or null: 0.1. */
      pause_bounce_rate?: number | null
      /** Complaints of bulk mail, over which it is held, as a part of one; 1: never. Absent or null: 0.005. */
      pause_complaint_rate?: number | null
      /** Under so much mail in 24 hours no rate counts. Absent or null: 200. */
      minimum_volume?: number | null
    } | null
  }
  /** When a mail was handed over whole and no reply came, it may have arrived. false: it is sent again, with the same Message-ID and content, so it may arrive twice. true: it is not, and its recipient ends as failed (reason network, `uncertain` in its attempt and event). Heeded from the next attempt on. */
  at_most_once?: boolean
  /** After so many days its mail is deleted with all that was written of it: recipients, attempts, events. null: after VALIJA_RETENTION_EVENTS, which is the longest. */
  retention_days?: number | null
  /** After so many days the content of its mail is deleted: bodies, subjects, metadata, SMTP conversations, the inbox. What became of each recipient stays. No longer than VALIJA_RETENTION_CONTENT and `retention_days`, of which the shorter counts. null: bodies after VALIJA_RETENTION_CONTENT. */
  redact_after_days?: number | null
}

export type TenantChange = {
  /** Unique in this installation. */
  name?: string
  /** Its share of the sending, against the weights of the other tenants that have something to send. */
  weight?: number
  /** What the tenant may do at most. A change leaves those that it does not name as they are, within `alarms` too; null ends one. */
  limits?: {
    /** Recipients of the tenant that may wait to be sent to at the same time; beyond it POST /send answers 429 `queue_full`. Absent or null: `VALIJA_MAX_QUEUED_PER_TENANT`. */
    queued?: number | null
    /** Requests of any kind in a second, which begins with the first of them. Absent or null: no limit. */
    requests_per_second?: number | null
    /** Requests of any kind in a minute, which begins with the first of them. Absent or null: no limit. */
    requests_per_minute?: number | null
    /** Recipients of accepted messages in a minute, which begins with the first of them. Absent or null: no limit. */
    recipients_per_minute?: number | null
    /** Recipients of accepted messages in an hour, which begins with the first of them. Absent or null: no limit. */
    recipients_per_hour?: number | null
    /** Recipients of accepted messages in a day, from 00:00 UTC on. Absent or null: no limit. */
    recipients_per_day?: number | null
    /** Recipients of accepted messages in a calendar month (UTC). Absent or null: no limit. */
    recipients_per_month?: number | null
    /** Messages to one and the same address in an hour, which begins with the first of them: against forms that are abused to flood somebody’s mailbox. Absent or null: no limit. */
    recipients_per_hour_to_one_address?: number | null
    /** Octets of a message: text, html and 4/3 of the attachments, or the raw message. Beyond `VALIJA_MAX_MESSAGE_SIZE` it changes nothing. Absent or null: no limit. */
    max_message_bytes?: number | null
    /** Recipients of one message. Absent or null: no limit. */
    max_recipients?: number | null
    /** Attachments of one message that is not raw. Absent or null: no limit. */
    max_attachments?: number | null
    /** When the rates of a stream over the last 24 hours are worth an alarm, an event `tenant.alarm`, once until they are well below again; and when they are so high that its bulk mail is held. */
    alarms?: {
      /** Hard bounces, of delivered and bounced, over which there is an alarm, as a part of one; 1: never. Absent or null: 0.05. */
      bounce_rate?: number | null
      /** Complaints, of delivered, over which there is an alarm, as a part of one; 1: never. Absent or null: 0.001. */
      complaint_rate?: number | null
      /** Deferred tries, of all that were answered, over which there is an alarm, as a part of one; 1: never. Absent or null: 0.3. */
      deferral_rate?: number | null
      /** Whether bulk mail is held when its own rates exceed the next two. Absent or null: true, but for the tenant of `npm start`. */
      pause_bulk?: boolean | null
      /** Hard bounces of bulk mail, over which it is held, as a part of one; 1: never. Absent or null: 0.1. */
      pause_bounce_rate?: number | null
      /** Complaints of bulk mail, over which it is held, as a part of one; 1: never. Absent or null: 0.005. */
      pause_complaint_rate?: number | null
      /** Under so much mail in 24 hours no rate counts. Absent or null: 200. */
      minimum_volume?: number | null
    } | null
  }
  /** When a mail was handed over whole and no reply came, it may have arrived. false: it is sent again, with the same Message-ID and content, so it may arrive twice. true: it is not, and its recipient ends as failed (reason network, `uncertain` in its attempt and event). Heeded from the next attempt on. */
  at_most_once?: boolean
  /** After so many days its mail is deleted with all that was written of it: recipients, attempts, events. null: after VALIJA_RETENTION_EVENTS, which is the longest. */
  retention_days?: number | null
  /** After so many days the content of its mail is deleted: bodies, subjects, metadata, SMTP conversations, the inbox. What became of each recipient stays. No longer than VALIJA_RETENTION_CONTENT and `retention_days`, of which the shorter counts. null: bodies after VALIJA_RETENTION_CONTENT. */
  redact_after_days?: number | null
  /** suspended: sends are answered 403 `tenant_suspended`, and what was accepted is held; nothing is lost, and its time (`expires_at`) does not run on. active again: it goes on at once. */
  status?: 'active' | 'suspended'
  /** Whether bulk mail is held, by the operator or by itself (`limits.alarms`): it is accepted, and waits; nothing is lost, and its time (`expires_at`) does not run on. Other mail goes on. false again: it goes on at once. */
  bulk_paused?: boolean
}

/** What waits, and where. */
export type Queue = {
  /** Recipients that nobody works on. */
  waiting: number
  /** Of these, those whose time has come. */
  due: number
  /** Handed to the workers, and not taken yet. */
  admitted: number
  /** In the hands of a worker. */
  leased: number
  /** Since when the one that has waited longest for a worker has been due. */
  oldest_due_at: string | null
  /** Those with the most first; at most 100. */
  tenants: ({
    id: string
    name: string | null
    /** Recipients that nobody works on. */
    waiting: number
    /** Of these, those whose time has come. */
    due: number
    /** Handed to the workers, and not taken yet. */
    admitted: number
    /** In the hands of a worker. */
    leased: number
    /** Since when the one that has waited longest for a worker has been due. */
    oldest_due_at: string | null
  })[]
  /** Sites that are suspended or slowed, then those that are connected to; at most 200. */
  sites: (QueuedSite)[]
  /** Mail of single tenants or sending domains that a provider’s rule holds back; at most 100. */
  holds: ({
    provider: string | null
    site: string | null
    tenant_id: string
    /** The sending domain; null: all mail of the tenant. */
    domain: string | null
    /** When it ends. */
    until: string
    reason: string | null
    reply: string | null
  })[]
}

/** A receiving site, or a provider with all its sites. */
export type QueuedSite = {
  /** What `POST /queue/sites/{id}/resume` takes. */
  id: string
  /** Its name in the shaping rules; null for an unknown one. */
  provider: string | null
  /** An exchanger’s name, or the route’s. */
  site: string
  /** Name of the source address; `default` when the system chooses. */
  source: string
  state: 'ok' | 'slowed' | 'suspended'
  /** Since when it is slowed or suspended. */
  since: string | null
  /** When what slows it ends; null when it ends step by step. */
  until: string | null
  reason: string | null
  /** The reply, or failure, that caused it. */
  reply: string | null
  limits: SiteLimits
  configured: SiteLimits
  /** In use now, over all workers; null for a relay, which each worker counts alone. */
  connections: number | null
}

/** How much a receiving site is sent at once, from one source address. */
export type SiteLimits = {
  /** At the same time, over all workers. */
  connections: number
  mails_per_connection: number
  /** Null: no limit. */
  mails_per_second: number | null
}

/** Sessions of one day with one exchanger that went the same way. */
export type TlsReportEntry = {
  /** In UTC. */
  day: string
  /** The recipients’ domain. */
  domain: string
  /** What applied: DANE (`tlsa`), MTA-STS (`sts`), or nothing. */
  policy: 'tlsa' | 'sts' | 'no-policy-found'
  /** The mail exchanger. */
  mx: string
  /** `success`, or a failure by its name in RFC 8460, section 4.3. */
  result: string
  /** How many. */
  sessions: number
}

/** An address that mail to mail exchangers leaves from. */
export type Source = {
  id: string
  /** IPv4, as the world sees it. */
  address: string
  /** The address that the worker’s machine has, where it is behind a NAT; else as address. */
  bind: string
  /** The IPv6 address that it also sends from; null: it sends over IPv4 only. */
  ipv6: string | null
  /** The name given in EHLO; should be the address’s PTR record. */
  ehlo_name: string
  /** transactional and bulk are for these streams, default for both; others are for routes that name them. */
  pool: string
  /** Its share of the recipients, against the others of its pool. */
  weight: number
  state: 'enabled' | 'paused'
  warm_up: {
    /** Mails per provider and day, stage by stage; a tenth of it in an hour. A day with 90 % of it handed off is followed by the next stage; behind the last one nothing is limited. */
    caps: (number)[]
    /** The share of deferrals at which a stage is lost. Usual: 0.1. */
    max_deferral_rate: number
    /** The share of complaints at which a stage is lost. Usual: 0.001. */
    max_complaint_rate: number
    providers: ({
      /** As in the shaping data; other: all that it does not know. */
      provider: string
      /** From 1. */
      stage: number
      /** Null when the warm-up is over. */
      cap_per_day: number | null
      cap_per_hour: number | null
      used_in_day: number
      used_in_hour: number
      /** In this day, as are the others. */
      handed_off: number
      /** Deferred or refused for throttling, reputation or policy. */
      deferred: number
      complained: number
    })[]
  } | null
  health: {
    /** unbound: no worker has this address. blocked: a receiver refused mail for its reputation within a day. */
    status: 'ok' | 'unbound' | 'blocked'
    /** When a worker last said that it has it. */
    bound_at: string | null
    /** The last refusal for its reputation. */
    blocked_at: string | null
    blocked_reply: string | null
  }
  /** When it was made. */
  created_at: string
}

export type SourceInput = {
  /** IPv4, as the world sees it. */
  address: string
  /** The name given in EHLO; should be the address’s PTR record. */
  ehlo_name: string
  /** The address that the worker’s machine has, where it is behind a NAT; else as address. */
  bind?: string | null
  /** The IPv6 address that it also sends from; null: it sends over IPv4 only. */
  ipv6?: string | null
  /** transactional and bulk are for these streams, default for both; others are for routes that name them. */
  pool?: string
  /** Its share of the recipients, against the others of its pool. */
  weight?: number
  state?: 'enabled' | 'paused'
  /** true: the usual schedule; false or null: it is warm. */
  warm_up?: {
    /** Mails per provider and day, stage by stage; a tenth of it in an hour. A day with 90 % of it handed off is followed by the next stage; behind the last one nothing is limited. */
    caps?: (number)[]
    /** The share of deferrals at which a stage is lost. Usual: 0.1. */
    max_deferral_rate?: number
    /** The share of complaints at which a stage is lost. Usual: 0.001. */
    max_complaint_rate?: number
  } | boolean | null
}

export type SourceChange = {
  /** The name given in EHLO; should be the address’s PTR record. */
  ehlo_name?: string
  /** The address that the worker’s machine has, where it is behind a NAT; else as address. */
  bind?: string | null
  /** The IPv6 address that it also sends from; null: it sends over IPv4 only. */
  ipv6?: string | null
  /** transactional and bulk are for these streams, default for both; others are for routes that name them. */
  pool?: string
  /** Its share of the recipients, against the others of its pool. */
  weight?: number
  state?: 'enabled' | 'paused'
  /** true: the usual schedule; false or null: it is warm. */
  warm_up?: {
    /** Mails per provider and day, stage by stage; a tenth of it in an hour. A day with 90 % of it handed off is followed by the next stage; behind the last one nothing is limited. */
    caps?: (number)[]
    /** The share of deferrals at which a stage is lost. Usual: 0.1. */
    max_deferral_rate?: number
    /** The share of complaints at which a stage is lost. Usual: 0.001. */
    max_complaint_rate?: number
  } | boolean | null
}

export type Readiness = {
  status: 'ready' | 'degraded' | 'not_ready'
  /** Where this installation sends mail. */
  delivery: 'capture' | 'smarthost' | 'mx'
  checks: ({
    name: string
    ok: boolean
    detail: string
  })[]
}

/** What each operation takes and answers. */
export interface Operations {
  /** Send a message. */
  'POST /send': {
    path: {}
    query: {}
    body: MessageInput
    answer: AcceptedMessage
  }
  /** Send up to 1,000 messages. */
  'POST /send/batch': {
    path: {}
    query: { mode?: 'strict' | 'permissive' }
    body: BatchInput
    answer: {
      data: ({
        status: 202
        message: AcceptedMessage
      } | {
        status: number
        problem: Problem
      })[]
    } | {
      data: (AcceptedMessage)[]
    }
  }
  /** Show what would be sent. */
  'POST /send/preview': {
    path: {}
    query: {}
    body: MessageInput
    answer: MessagePreview
  }
  /** Search messages, newest first. */
  'GET /messages': {
    path: {}
    query: { to?: string; from?: string; subject?: string; tag?: string; status?: 'scheduled' | 'queued' | 'sending' | 'deferred' | 'delivered' | 'bounced' | 'failed' | 'cancelled' | 'suppressed' | 'partially_delivered'; reason?: string; domain?: string; stream?: 'transactional' | 'bulk'; after?: string; before?: string; limit?: number; cursor?: string }
    body: undefined
    answer: {
      data: (MessageSummary)[]
      /** Ask again with it for the next page; null at the end. */
      next_cursor: string | null
    }
  }
  /** Get a message and what became of each recipient. */
  'GET /messages/{id}': {
    path: { id: string }
    query: {}
    body: undefined
    answer: Message
  }
  /** Move a message that waits to another time. */
  'PATCH /messages/{id}': {
    path: { id: string }
    query: {}
    body: {
      /** When to send it: an RFC 3339 time up to a year ahead. null, or a time that has just passed: at once. Required. */
      send_at?: string | null
    }
    answer: ChangedMessage
  }
  /** Stop a message that waits to be sent. */
  'POST /messages/{id}/cancel': {
    path: { id: string }
    query: {}
    body: Record<string, never> | null | undefined
    answer: ChangedMessage
  }
  /** Send a message again, as a new one. */
  'POST /messages/{id}/resend': {
    path: { id: string }
    query: {}
    body: {
      /** Only these of its recipients, by their addresses. Absent: all of them. */
      recipients?: (string)[]
    } | null | undefined
    answer: AcceptedMessage
  }
  /** List a message’s events, oldest first. */
  'GET /messages/{id}/events': {
    path: { id: string }
    query: { limit?: number; cursor?: string }
    body: undefined
    answer: {
      data: (Event)[]
      /** Ask again with it for the next page; null at the end. */
      next_cursor: string | null
    }
  }
  /** List a message’s attempts, oldest first. */
  'GET /messages/{id}/attempts': {
    path: { id: string }
    query: { limit?: number; cursor?: string }
    body: undefined
    answer: {
      data: (Attempt)[]
      /** Ask again with it for the next page; null at the end. */
      next_cursor: string | null
    }
  }
  /** Explain where each recipient of a message stands, and why. */
  'GET /messages/{id}/explain': {
    path: { id: string }
    query: {}
    body: undefined
    answer: MessageExplanation
  }
  /** Get a message as RFC 5322 text. */
  'GET /messages/{id}/raw': {
    path: { id: string }
    query: {}
    body: undefined
    answer: Uint8Array<ArrayBuffer>
  }
  /** Read the stream of events, oldest first. */
  'GET /events': {
    path: {}
    query: { type?: (string)[]; after?: string; limit?: number; cursor?: string }
    body: undefined
    answer: {
      data: (Event)[]
      next_cursor: string
    }
  }
  /** See what became of your mail. */
  'GET /stats': {
    path: {}
    query: { after?: string; before?: string; interval?: 'hour' | 'day' | 'total'; group_by?: 'domain' | 'stream' | 'provider' | 'tag'; groups?: number; domain?: string; stream?: 'transactional' | 'bulk'; provider?: string; tag?: string }
    body: undefined
    answer: {
      data: (StatsRow)[]
      /** From when on is counted. */
      after: string
      /** Until when. */
      before: string
      interval: 'hour' | 'day' | 'total'
      /** All that `/events` showed by then is counted; null before the first time. */
      as_of: string | null
    }
  }
  /** List the webhooks. */
  'GET /webhooks': {
    path: {}
    query: { limit?: number; cursor?: string }
    body: undefined
    answer: {
      data: (Webhook)[]
      /** Ask again with it for the next page; null at the end. */
      next_cursor: string | null
    }
  }
  /** Add a webhook. */
  'POST /webhooks': {
    path: {}
    query: {}
    body: WebhookInput
    answer: CreatedWebhook
  }
  /** Show a webhook. */
  'GET /webhooks/{id}': {
    path: { id: string }
    query: {}
    body: undefined
    answer: Webhook
  }
  /** Change, disable or enable a webhook. */
  'PATCH /webhooks/{id}': {
    path: { id: string }
    query: {}
    body: WebhookChange
    answer: Webhook
  }
  /** Delete a webhook. */
  'DELETE /webhooks/{id}': {
    path: { id: string }
    query: {}
    body: undefined
    answer: undefined
  }
  /** List the tries made at a webhook. */
  'GET /webhooks/{id}/deliveries': {
    path: { id: string }
    query: { event_id?: string; type?: (string)[]; outcome?: 'delivered' | 'failed'; after?: string; before?: string; limit?: number; cursor?: string }
    body: undefined
    answer: {
      data: (WebhookDelivery)[]
      /** Ask again with it for the next page; null at the end. */
      next_cursor: string | null
    }
  }
  /** Was this event told to this webhook?. */
  'GET /webhooks/{id}/deliveries/{event_id}': {
    path: { id: string; event_id: string }
    query: {}
    body: undefined
    answer: EventAtWebhook
  }
  /** List what a webhook has still to be told. */
  'GET /webhooks/{id}/pending': {
    path: { id: string }
    query: { limit?: number; cursor?: string }
    body: undefined
    answer: {
      data: (PendingWebhook)[]
      /** Ask again with it for the next page; null at the end. */
      next_cursor: string | null
    }
  }
  /** Give a webhook a new secret. */
  'POST /webhooks/{id}/rotate-secret': {
    path: { id: string }
    query: {}
    body: {
      /** How long the former secret signs as well, in seconds. 0: not at all, for a secret that others know. */
      overlap_seconds?: number
    } | null | undefined
    answer: RotatedSecret
  }
  /** Tell a webhook again. */
  'POST /webhooks/{id}/replay': {
    path: { id: string }
    query: {}
    body: WebhookReplayInput
    answer: WebhookReplay
  }
  /** Send a test event to a webhook. */
  'POST /webhooks/{id}/test': {
    path: { id: string }
    query: {}
    body: Record<string, never> | null | undefined
    answer: WebhookTest
  }
  /** List the sender domains. */
  'GET /domains': {
    path: {}
    query: { limit?: number; cursor?: string }
    body: undefined
    answer: {
      data: (Domain)[]
      /** Ask again with it for the next page; null at the end. */
      next_cursor: string | null
    }
  }
  /** Add a sender domain. */
  'POST /domains': {
    path: {}
    query: {}
    body: DomainInput
    answer: Domain
  }
  /** Show a sender domain with its DNS records. */
  'GET /domains/{id}': {
    path: { id: string }
    query: {}
    body: undefined
    answer: Domain
  }
  /** Change a sender domain. */
  'PATCH /domains/{id}': {
    path: { id: string }
    query: {}
    body: DomainChange
    answer: Domain
  }
  /** Remove a sender domain. */
  'DELETE /domains/{id}': {
    path: { id: string }
    query: {}
    body: undefined
    answer: undefined
  }
  /** Look for the DNS records of a sender domain now. */
  'POST /domains/{id}/verify': {
    path: { id: string }
    query: {}
    body: Record<string, never> | null | undefined
    answer: Domain
  }
  /** Begin to sign by new keys. */
  'POST /domains/{id}/rotate-dkim': {
    path: { id: string }
    query: {}
    body: RotationInput
    answer: Domain
  }
  /** Show the DNS records of a sender domain as a zone file. */
  'GET /domains/{id}/zone': {
    path: { id: string }
    query: {}
    body: undefined
    answer: string
  }
  /** See what others report about a sender domain. */
  'GET /domains/{id}/reports': {
    path: { id: string }
    query: { after?: string; before?: string; limit?: number; cursor?: string }
    body: undefined
    answer: {
      data: (ReportDay)[]
      /** Ask again with it for the next page; null at the end. */
      next_cursor: string | null
      totals: {
        dmarc: DmarcSum | null
        tls: TlsSum | null
      }
    }
  }
  /** List the templates. */
  'GET /templates': {
    path: {}
    query: { slug?: string; kind?: 'template' | 'layout' | 'partial'; limit?: number; cursor?: string }
    body: undefined
    answer: {
      data: (TemplateSummary)[]
      /** Ask again with it for the next page; null at the end. */
      next_cursor: string | null
    }
  }
  /** Add a template. */
  'POST /templates': {
    path: {}
    query: {}
    body: TemplateInput
    answer: Template
  }
  /** Read a template. */
  'GET /templates/{id}': {
    path: { id: string }
    query: {}
    body: undefined
    answer: Template
  }
  /** Change a template. */
  'PATCH /templates/{id}': {
    path: { id: string }
    query: {}
    body: TemplateChange
    answer: Template
  }
  /** Forget a template. */
  'DELETE /templates/{id}': {
    path: { id: string }
    query: {}
    body: undefined
    answer: undefined
  }
  /** Publish a version. */
  'POST /templates/{id}/publish': {
    path: { id: string }
    query: {}
    body: TemplatePublication
    answer: Template
  }
  /** List the versions of a template. */
  'GET /templates/{id}/versions': {
    path: { id: string }
    query: { limit?: number; cursor?: string }
    body: undefined
    answer: {
      data: (TemplateVersionSummary)[]
      /** Ask again with it for the next page; null at the end. */
      next_cursor: string | null
    }
  }
  /** Read a version of a template. */
  'GET /templates/{id}/versions/{version}': {
    path: { id: string; version: string }
    query: {}
    body: undefined
    answer: TemplateVersion
  }
  /** Render a template. */
  'POST /templates/{id}/render': {
    path: { id: string }
    query: {}
    body: TemplateTrial
    answer: TemplateRendering
  }
  /** Send a test mail of a template. */
  'POST /templates/{id}/test': {
    path: { id: string }
    query: {}
    body: TemplateTest
    answer: AcceptedMessage
  }
  /** Search the suppressed addresses. */
  'GET /suppressions': {
    path: {}
    query: { email?: string; reason?: 'manual' | 'mailbox_unknown' | 'mailbox_disabled' | 'mailbox_full' | 'complaint' | 'unsubscribe'; status?: 'active' | 'quarantined' | 'removed'; stream?: 'transactional' | 'bulk'; limit?: number; cursor?: string }
    body: undefined
    answer: {
      data: (Suppression)[]
      /** Ask again with it for the next page; null at the end. */
      next_cursor: string | null
    }
  }
  /** Suppress an address. */
  'POST /suppressions': {
    path: {}
    query: {}
    body: SuppressionInput
    answer: Suppression
  }
  /** Export the suppressed addresses. */
  'GET /suppressions/export': {
    path: {}
    query: { reason?: 'manual' | 'mailbox_unknown' | 'mailbox_disabled' | 'mailbox_full' | 'complaint' | 'unsubscribe'; status?: 'active' | 'quarantined' | 'removed'; stream?: 'transactional' | 'bulk' }
    body: undefined
    answer: string
  }
  /** Undo a provider’s bad day. */
  'POST /suppressions/undo': {
    path: {}
    query: {}
    body: SuppressionUndo
    answer: {
      dry_run: boolean
      /** Entries that were removed, or would be. */
      count: number
      /** There are further ones: ask again. */
      more: boolean
    }
  }
  /** Read an entry. */
  'GET /suppressions/{id}': {
    path: { id: string }
    query: {}
    body: undefined
    answer: Suppression
  }
  /** Confirm or move an entry. */
  'PATCH /suppressions/{id}': {
    path: { id: string }
    query: {}
    body: SuppressionChange
    answer: Suppression
  }
  /** Take an address off the list. */
  'DELETE /suppressions/{id}': {
    path: { id: string }
    query: {}
    body: undefined
    answer: undefined
  }
  /** Delete what is kept about one person. */
  'POST /recipients/erase': {
    path: {}
    query: {}
    body: ErasureInput
    answer: Erasure
  }
  /** List the erasures. */
  'GET /erasures': {
    path: {}
    query: { limit?: number; cursor?: string }
    body: undefined
    answer: {
      data: (Erasure)[]
      /** Ask again with it for the next page; null at the end. */
      next_cursor: string | null
    }
  }
  /** Read how far an erasure is. */
  'GET /erasures/{id}': {
    path: { id: string }
    query: {}
    body: undefined
    answer: Erasure
  }
  /** List the caught mails. */
  'GET /inbox': {
    path: {}
    query: { limit?: number; cursor?: string; to?: string; after?: string; wait?: string }
    body: undefined
    answer: {
      data: (InboxEntry)[]
      /** Ask again with it for the next page; null at the end. */
      next_cursor: string | null
    }
  }
  /** Delete all caught mails. */
  'DELETE /inbox': {
    path: {}
    query: {}
    body: undefined
    answer: undefined
  }
  /** Show a caught mail. */
  'GET /inbox/{id}': {
    path: { id: string }
    query: {}
    body: undefined
    answer: InboxMail
  }
  /** Show a caught mail as it came. */
  'GET /inbox/{id}/raw': {
    path: { id: string }
    query: {}
    body: undefined
    answer: Uint8Array<ArrayBuffer>
  }
  /** Download an attachment of a caught mail. */
  'GET /inbox/{id}/attachments/{index}': {
    path: { id: string; index: string }
    query: {}
    body: undefined
    answer: Uint8Array<ArrayBuffer>
  }
  /** List the routes. */
  'GET /routes': {
    path: {}
    query: { limit?: number; cursor?: string }
    body: undefined
    answer: {
      data: (Route)[]
      /** Ask again with it for the next page; null at the end. */
      next_cursor: string | null
    }
  }
  /** Make a route. */
  'POST /routes': {
    path: {}
    query: {}
    body: RouteInput
    answer: Route
  }
  /** Show a route. */
  'GET /routes/{id}': {
    path: { id: string }
    query: {}
    body: undefined
    answer: Route
  }
  /** Change a route. */
  'PATCH /routes/{id}': {
    path: { id: string }
    query: {}
    body: RouteChange
    answer: Route
  }
  /** Delete a route. */
  'DELETE /routes/{id}': {
    path: { id: string }
    query: {}
    body: undefined
    answer: undefined
  }
  /** Take a paused route into use again. */
  'POST /routes/{id}/resume': {
    path: { id: string }
    query: {}
    body: Record<string, never> | null | undefined
    answer: Route
  }
  /** List the lists of routes. */
  'GET /route-lists': {
    path: {}
    query: { limit?: number; cursor?: string }
    body: undefined
    answer: {
      data: (RouteList)[]
      /** Ask again with it for the next page; null at the end. */
      next_cursor: string | null
    }
  }
  /** Make a list of routes. */
  'POST /route-lists': {
    path: {}
    query: {}
    body: RouteListInput
    answer: RouteList
  }
  /** Show a list of routes. */
  'GET /route-lists/{id}': {
    path: { id: string }
    query: {}
    body: undefined
    answer: RouteList
  }
  /** Change a list of routes. */
  'PATCH /route-lists/{id}': {
    path: { id: string }
    query: {}
    body: RouteListChange
    answer: RouteList
  }
  /** Delete a list of routes. */
  'DELETE /route-lists/{id}': {
    path: { id: string }
    query: {}
    body: undefined
    answer: undefined
  }
  /** List the mailboxes. */
  'GET /mailboxes': {
    path: {}
    query: { limit?: number; cursor?: string }
    body: undefined
    answer: {
      data: (Mailbox)[]
      /** Ask again with it for the next page; null at the end. */
      next_cursor: string | null
    }
  }
  /** Have a mailbox looked after. */
  'POST /mailboxes': {
    path: {}
    query: {}
    body: MailboxInput
    answer: Mailbox
  }
  /** Show a mailbox and how it does. */
  'GET /mailboxes/{id}': {
    path: { id: string }
    query: {}
    body: undefined
    answer: Mailbox
  }
  /** Change a mailbox. */
  'PATCH /mailboxes/{id}': {
    path: { id: string }
    query: {}
    body: MailboxChange
    answer: Mailbox
  }
  /** Look after a mailbox no more. */
  'DELETE /mailboxes/{id}': {
    path: { id: string }
    query: {}
    body: undefined
    answer: undefined
  }
  /** Try a mailbox out. */
  'POST /mailboxes/{id}/test': {
    path: { id: string }
    query: {}
    body: Record<string, never> | null | undefined
    answer: MailboxTest
  }
  /** List the API keys. */
  'GET /keys': {
    path: {}
    query: { limit?: number; cursor?: string }
    body: undefined
    answer: {
      data: (Key)[]
      /** Ask again with it for the next page; null at the end. */
      next_cursor: string | null
    }
  }
  /** Make an API key. */
  'POST /keys': {
    path: {}
    query: {}
    body: KeyInput
    answer: CreatedKey
  }
  /** Show an API key. */
  'GET /keys/{id}': {
    path: { id: string }
    query: {}
    body: undefined
    answer: Key
  }
  /** Change what an API key may do. */
  'PATCH /keys/{id}': {
    path: { id: string }
    query: {}
    body: KeyChange
    answer: Key
  }
  /** Revoke an API key. */
  'DELETE /keys/{id}': {
    path: { id: string }
    query: {}
    body: undefined
    answer: undefined
  }
  /** Who changed what. */
  'GET /audit': {
    path: {}
    query: { action?: string; key?: string; target?: string; after?: string; before?: string; limit?: number; cursor?: string }
    body: undefined
    answer: {
      data: (AuditEntry)[]
      /** Ask again with it for the next page; null at the end. */
      next_cursor: string | null
    }
  }
  /** List the tenants. */
  'GET /tenants': {
    path: {}
    query: { limit?: number; cursor?: string }
    body: undefined
    answer: {
      data: (Tenant)[]
      /** Ask again with it for the next page; null at the end. */
      next_cursor: string | null
    }
  }
  /** Make a tenant. */
  'POST /tenants': {
    path: {}
    query: {}
    body: TenantInput
    answer: CreatedTenant
  }
  /** Show a tenant. */
  'GET /tenants/{id}': {
    path: { id: string }
    query: {}
    body: undefined
    answer: Tenant
  }
  /** Change a tenant. */
  'PATCH /tenants/{id}': {
    path: { id: string }
    query: {}
    body: TenantChange
    answer: Tenant
  }
  /** Delete a tenant. */
  'DELETE /tenants/{id}': {
    path: { id: string }
    query: {}
    body: undefined
    answer: undefined
  }
  /** Show what waits, and where. */
  'GET /queue': {
    path: {}
    query: {}
    body: undefined
    answer: Queue
  }
  /** Lift a suspension. */
  'POST /queue/sites/{id}/resume': {
    path: { id: string }
    query: {}
    body: Record<string, never> | null | undefined
    answer: QueuedSite
  }
  /** See how TLS goes with receivers. */
  'GET /tls-report': {
    path: {}
    query: { domain?: string; day?: string; limit?: number; cursor?: string }
    body: undefined
    answer: {
      data: (TlsReportEntry)[]
      /** Ask again with it for the next page; null at the end. */
      next_cursor: string | null
    }
  }
  /** List the source addresses. */
  'GET /source-ips': {
    path: {}
    query: { limit?: number; cursor?: string }
    body: undefined
    answer: {
      data: (Source)[]
      /** Ask again with it for the next page; null at the end. */
      next_cursor: string | null
    }
  }
  /** Make a source address. */
  'POST /source-ips': {
    path: {}
    query: {}
    body: SourceInput
    answer: Source
  }
  /** Show a source address. */
  'GET /source-ips/{id}': {
    path: { id: string }
    query: {}
    body: undefined
    answer: Source
  }
  /** Change a source address. */
  'PATCH /source-ips/{id}': {
    path: { id: string }
    query: {}
    body: SourceChange
    answer: Source
  }
  /** Delete a source address. */
  'DELETE /source-ips/{id}': {
    path: { id: string }
    query: {}
    body: undefined
    answer: undefined
  }
  /** Whether the process lives. */
  'GET /healthz': {
    path: {}
    query: {}
    body: undefined
    answer: {
      status: 'ok'
    }
  }
  /** Whether a send would succeed now. */
  'GET /readyz': {
    path: {}
    query: {}
    body: undefined
    answer: Readiness
  }
  /** Metrics for Prometheus. */
  'GET /metrics': {
    path: {}
    query: {}
    body: undefined
    answer: string
  }
  /** Import suppressed addresses. */
  'POST /suppressions/import': {
    path: {}
    query: { dry_run?: boolean; stream?: 'transactional' | 'bulk'; reason?: 'manual' | 'mailbox_unknown' | 'mailbox_disabled' | 'mailbox_full' | 'complaint' | 'unsubscribe' }
    body: string
    answer: SuppressionImport
  }
}
