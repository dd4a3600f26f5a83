/** What LiquidJS throws, as faults: which source and line, which variable, and what is wrong in a sentence of ours. */
import { slugOf } from './liquid-engine.ts'
import type { TemplateFault, TemplatePart } from './render-job.ts'
import { LimitError, renderLimits } from './render-limits.ts'

/** What LiquidJS's errors are made of, as far as it is read here. */
interface LiquidTrouble {
  message?: string
  name?: string
  originalError?: LiquidTrouble
  variableName?: string
  errors?: LiquidTrouble[]
  token?: { file?: string; input?: string; getPosition?(): [line: number, column: number] }
}

/**
 * @param slug of the template that was parsed or rendered, where an error does not say
 * @param slugOfSource of layouts and partials, where an error names no file but has the source
 */
export function readFaults(
  error: unknown,
  slug: string,
  part: TemplatePart,
  slugOfSource: (source: string) => string | null = () => null,
): TemplateFault[] {
  const faults: TemplateFault[] = []
  const told = new Set<string>()
  for (const trouble of flatten(error as LiquidTrouble)) {
    const fault = readFault(trouble, slugIn(trouble, slugOfSource) ?? slug, part)
    const name = fault.variable
      ? `variable ${fault.variable.join('.')}`
      : `${fault.slug} ${fault.line} ${fault.message}`
    if (told.has(name) || faults.length === renderLimits.faults) continue
    told.add(name)
    faults.push(fault)
  }
  return faults
}

function flatten(trouble: LiquidTrouble): LiquidTrouble[] {
  return trouble.errors ? trouble.errors.flatMap(flatten) : [trouble]
}

function readFault(trouble: LiquidTrouble, slug: string, part: TemplatePart): TemplateFault {
  const innermost = innermostOf(trouble)
  const place = { slug, part, line: trouble.token?.getPosition?.()[0] ?? null }
  if (innermost.variableName !== undefined)
    return { ...place, variable: innermost.variableName.split('.'), message: 'Is missing.' }
  return { ...place, variable: null, message: wordOf(innermost) }
}

function slugIn({ token }: LiquidTrouble, slugOfSource: (source: string) => string | null): string | null {
  if (token?.file !== undefined) return slugOf(token.file)
  return token?.input === undefined ? null : slugOfSource(token.input)
}

function innermostOf(trouble: LiquidTrouble): LiquidTrouble {
  return trouble.originalError ? innermostOf(trouble.originalError) : trouble
}

/** What LiquidJS puts behind its messages. */
const placeBehind = /(?:, file:[^\n]*?)?, line:\d+, col:\d+$/

function wordOf(error: LiquidTrouble): string {
  if (error instanceof LimitError) return error.message
  if (error instanceof RangeError)
    return 'It is nested too deeply, or makes too long a value. Make it simpler.'
  const text = (error.message ?? 'is not valid').replace(placeBehind, '').slice(0, 300)
  const unknown = /^(?:undefined filter: (.+)|tag "(.+)" not found)$/s.exec(text)
  if (unknown?.[1] !== undefined) return `There is no filter ${unknown[1]}.`
  if (unknown?.[2] !== undefined) return `There is no tag ${unknown[2]}.`
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}${text.endsWith('.') ? '' : '.'}`
}
