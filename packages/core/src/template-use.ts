/** A message that names a template: what may stand beside it, and what its rendering must be before it is judged as a message. */
import type { MessageDraft } from './message-input.ts'
import { type Fault, findLineFault, findTextFault, pointer } from './message-input-text.ts'

const NOT_WITH_TEMPLATE = ['text', 'html', 'raw'] as const

/** What cannot stand beside a template. */
export function findBesideTemplateFaults(input: MessageDraft): Fault[] {
  return NOT_WITH_TEMPLATE.flatMap((field) =>
    input[field] === undefined
      ? []
      : [
          {
            path: `/${field}`,
            message: 'Cannot stand beside template, which makes it. Leave one of both out.',
          },
        ],
  )
}

/** The message with something harmless in place of what its template makes, to be judged for all else. */
export function withoutTemplate(input: MessageDraft): MessageDraft {
  const { template: _, html: _html, raw: _raw, ...rest } = input
  return { ...rest, subject: input.subject ?? '-', text: '-' }
}

/** What came of a template. */
export interface RenderedContent {
  subject: string | null
  text: string | null
  html: string | null
  /** The variables that its subject was made with. */
  inSubject: readonly string[]
}

/**
 * What only variables can put in: line breaks into a subject, and characters that no mail can carry.
 *
 * @param given the variables
 * @returns faults whose paths begin at the template: `/variables/first_name`
 */
export function findRenderedFaults(
  rendered: RenderedContent,
  given: Readonly<Record<string, unknown>>,
): Fault[] {
  const { subject, text, html, inSubject } = rendered
  const faults: Fault[] = []
  const inLine = subject === null ? null : findLineFault(subject)
  if (inLine !== null) {
    const culprits = inSubject.filter((name) => Object.hasOwn(given, name) && holdsFault(given[name]))
    for (const name of culprits)
      faults.push({ path: pointer('/variables', name), message: `Goes into the subject. ${inLine}` })
    if (culprits.length === 0) faults.push({ path: '', message: `Its subject as rendered: ${inLine}` })
  }
  for (const [part, content] of Object.entries({ text, html })) {
    const fault = content === null ? null : findTextFault(content)
    if (fault !== null) faults.push({ path: '', message: `Its ${part} as rendered: ${fault}` })
  }
  if (text === null && html === null)
    faults.push({ path: '', message: 'It renders to nothing. Give it text or html.' })
  return faults
}

function holdsFault(value: unknown): boolean {
  if (typeof value === 'string') return findLineFault(value) !== null
  return typeof value === 'object' && value !== null && Object.values(value).some(holdsFault)
}
