/**
 * The part of a bounce that is written for people: where it ends and the returned mail begins, and what its lines are.
 *
 * There are as many formats as there are mail systems, so nothing here knows one of them by name: they all name an address, say
 * what a server answered or what went wrong, and then return the mail. The time taken grows with the length.
 */
const MAX_LINES = 600
const MAX_LINE = 1_000

/** Lines that announce the returned mail. */
const RETURNED_FOLLOWS = [
  /^[-=_* ]{0,80}(?:the |this is (?:a |the )?|included is |here is |following is |below is |begin )?(?:a |the )?(?:copy|header|headers|beginning|text|content|first .{1,20} lines?) of (?:the |your |that )?(?:original |returned |undelivered |unsent |failed )?(?:message|mail|e-?mail)/i,
  /^[-=_* ]{0,80}(?:your |the )?(?:original|returned|unsent)[ -](?:e-?mail|mail|message)(?:'?s)?(?: text| body| headers?)?(?: is| as)?(?: follows| following| attached| below| returned)?\b[-=_:*. ]{0,80}$/i,
  /^[-=_* ]{0,80}(?:(?:your|the|possibly truncated) ){0,2}(?:undelivered|undeliverable|rejected|failed|original)[ -](?:e-?mail|mail|message)(?: text| body| headers?)?(?: is| as)?(?: follows| following| attached| below|[-=_:]{2})[-=_:*. ]{0,80}$/i,
  /^[-=_* ]{2,80}(?:message|mail|unsent message|original message|returned message|message headers?|headers?|message contents?)(?: \S{1,12}){0,3}[-=_:* ]{2,80}$/i,
  /^[-=_* ]{0,80}(?:below this line|message (?:text |body |headers? )?follows|original (?:mail|message) as follows|message header:|the attachment contains the original)/i,
]
/** A returned header may also come without announcement. */
const TRACE_FIELD =
  /^(?:> ?)?(?:return-path|received|dkim-signature|domainkey-signature|x-received|arc-seal|delivered-to):[ \t]/i

/** Fields of the machine-readable part, where it stands in the text. */
const STATUS_FIELD =
  /^(?:reporting-mta|received-from-mta|remote-mta|arrival-date|last-attempt-date|will-retry-until|original-recipient|final-recipient|x-actual-recipient|original-envelope-id|action|status|diagnostic-code):/i

/** @returns the lines of the report, with what is folded or quoted left as it is */
export function reportLines(text: string): string[] {
  const lines: string[] = []
  for (const raw of text.split('\n', MAX_LINES)) {
    const line = raw.slice(0, MAX_LINE).trimEnd()
    if (TRACE_FIELD.test(line)) break
    if (lines.some((one) => one.trim() !== '') && RETURNED_FOLLOWS.some((pattern) => pattern.test(line)))
      break
    if (!STATUS_FIELD.test(line)) lines.push(line)
  }
  return lines
}
