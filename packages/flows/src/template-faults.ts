/** What is wrong with a template, in a sentence and at a path that its author can act on. */
import { type FieldFault, findUsesFault, type TemplateContent } from '@valija/core'
import type { TemplateFault, TemplateInspection } from '@valija/templates'

/** What of a source keeps it from being saved: its syntax, what it uses too much of, and, where variables are declared, what it uses besides. */
export function findSourceFaults(
  { html, variables }: Pick<TemplateContent, 'html' | 'variables'>,
  inspection: TemplateInspection,
): FieldFault[] {
  const uses = new Set(inspection.references.map(({ kind, slug }) => `${kind}/${slug}`))
  const tooMany = findUsesFault(uses.size)
  const declared = new Set(variables.map(({ name }) => name))
  const undeclared = inspection.variables.filter(({ name }) => declared.size > 0 && !declared.has(name))
  return [
    ...inspection.faults.map(atPart),
    ...undeclared.map(({ name, ...where }) =>
      atPart({
        ...where,
        message: `${name} is used and not declared. Add it to variables, or correct the name.`,
      }),
    ),
    ...(tooMany === null ? [] : [{ path: html === null ? '/text' : '/html', message: tooMany }]),
  ]
}

/** At the part of the template that its author sends: `/html`. */
export function atPart({
  part,
  line,
  message,
}: Pick<TemplateFault, 'part' | 'line' | 'message'>): FieldFault {
  return {
    path: part === null ? '' : `/${part}`,
    message: line === null ? message : `Line ${line}: ${message}`,
  }
}

/**
 * @param slug of the template that was asked for: what is wrong with a layout or partial names it
 * @param declared the variables that it declares; null: none, then any may be given
 * @returns a path that begins at the use of the template: `/variables/user/name`, or empty for the template itself
 */
export function placeFault(
  fault: TemplateFault,
  slug: string,
  declared: ReadonlySet<string> | null,
): FieldFault {
  const place = placeOf(fault, slug)
  if (fault.variable === null)
    return { path: '', message: `${place === '' ? '' : `${capitalised(place)}: `}${fault.message}` }
  const steps = fault.variable.map((step) => step.replaceAll('~', '~0').replaceAll('/', '~1'))
  const name = fault.variable.join('.')
  if (fault.slug !== null && fault.slug !== slug && declared?.has(fault.variable[0] ?? '') !== false) {
    const handed = `{% render "${fault.slug}", ${name}: … %}`
    const message = `${capitalised(place)} uses ${name}, and it is not given to it. Give it, and hand it to a partial that is rendered: ${handed}; or have it do without: {{ ${name} | default: "…" }}.`
    return { path: `/variables/${steps.join('/')}`, message }
  }
  const remedy =
    declared !== null && !declared.has(fault.variable[0] ?? '')
      ? 'and the template does not declare it. Declare it, or correct the name'
      : `and it is not given. Give it, or have the template do without: {{ ${name} | default: "…" }}`
  return { path: `/variables/${steps.join('/')}`, message: `${capitalised(place)} uses ${name}, ${remedy}.` }
}

/** `line 3 of html of "footer"`. */
function placeOf({ part, line, slug: at }: TemplateFault, slug: string): string {
  if (part === null) return ''
  const where = at === null || at === slug ? part : `${part} of "${at}"`
  return line === null ? where : `line ${line} of ${where}`
}

function capitalised(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1)
}
