/** An explanation as paragraphs for a terminal. */
import { inCommands } from './in-commands.ts'

/** As GET /messages/:id/explain answers. */
export interface ExplainedRecipient {
  email: string
  status: string
  summary: string
  because: { kind: string; detail: string }[]
  next_attempt_at: string | null
  remedy: string
}

/** In front of each paragraph. */
const margin = 11

/** @param width in columns */
export function explanationText(recipients: readonly ExplainedRecipient[], width: number): string {
  return recipients.map((recipient) => recipientText(recipient, width)).join('\n\n')
}

function recipientText(recipient: ExplainedRecipient, width: number): string {
  const { email, status, summary, because, next_attempt_at, remedy } = recipient
  return [
    `${email}  ${status}`,
    paragraph('', summary, width),
    ...because.map(({ kind, detail }, at) =>
      paragraph(at === 0 ? 'why' : 'and', `${detail} [${kind}]`, width),
    ),
    ...(next_attempt_at === null ? [] : [paragraph('next', next_attempt_at, width)]),
    paragraph('what to do', remedy, width),
  ].join('\n')
}

/** A label and text beside it, broken between words. Control characters of a hostile reply do not reach the terminal. */
function paragraph(label: string, text: string, width: number): string {
  const lines: string[] = []
  let line = ''
  for (const word of inCommands(text.replace(/\p{Cc}/gu, ' ')).split(/\s+/)) {
    const longer = line === '' ? word : `${line} ${word}`
    if (line !== '' && longer.length > width - margin - 2) {
      lines.push(line)
      line = word
    } else line = longer
  }
  lines.push(line)
  return lines.map((each, at) => `  ${(at === 0 ? label : '').padEnd(margin)}${each}`.trimEnd()).join('\n')
}
