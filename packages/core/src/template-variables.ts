/**
 * The variables of a template: what it declares, and whether what it is given fits. A template that declares none takes any, and whatever
 * it uses must be there (packages/templates).
 */
import { type Fault, findLengthFault, findLineFault, pointer } from './message-input-text.ts'

export const variableTypes = ['string', 'number', 'boolean', 'date', 'url', 'array', 'object'] as const
export type VariableType = (typeof variableTypes)[number]

export interface TemplateVariable {
  name: string
  type: VariableType
  /** Absent: true, unless there is a default. */
  required?: boolean
  /** Stands in for one that is absent or null. */
  default?: unknown
}

/** Octets of JSON; what a mail needs is a thousandth of it. */
const MAX_VARIABLES_BYTES = 256 * 1024
const MAX_DEPTH = 20
const MAX_DECLARED = 200
const MAX_NAMED = 20
const NAME = /^[A-Za-z_][A-Za-z0-9_-]{0,63}$/
/** Words of the language, and what it makes by itself. */
const RESERVED: ReadonlySet<string> = new Set([
  ...['true', 'false', 'nil', 'null', 'empty', 'blank', 'and', 'or', 'not', 'contains', 'block', 'forloop'],
])
const DATE = /^\d{4}-\d{2}-\d{2}(?:T\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?(?:Z|[+-]\d{2}:\d{2}))?$/

/** Judges declarations; paths begin with `/variables`. */
export function findDeclarationFaults(declared: readonly TemplateVariable[]): Fault[] {
  const faults: Fault[] = []
  if (declared.length > MAX_DECLARED)
    faults.push({
      path: '/variables',
      message: `More than ${MAX_DECLARED} are declared. Put some into an object.`,
    })
  const names = new Set<string>()
  for (const [i, variable] of declared.entries()) {
    const tell = (field: string, message: string) =>
      faults.push({ path: `/variables/${i}/${field}`, message })
    const { name, type, required } = variable
    if (!NAME.test(name))
      tell('name', 'Must be up to 64 letters, digits, _ and -, and begin with a letter or _.')
    else if (RESERVED.has(name))
      tell('name', `"${name}" is a word of the template language. Choose another name.`)
    else if (names.has(name)) tell('name', `"${name}" is declared twice.`)
    names.add(name)
    const usual = variable.default ?? null
    const fault = usual === null ? null : findTypeFault(type, usual)
    if (fault !== null) tell('default', fault)
    if (usual !== null && required === true)
      tell('required', 'A variable with a default is never missing. Leave one of both out.')
  }
  const size = sizeFault(declared.map((variable) => variable.default))
  if (size !== null) faults.push({ path: '/variables', message: `The defaults: ${size}` })
  return faults
}

export interface AppliedVariables {
  values: Record<string, unknown>
  /** Paths begin at the variables: `/first_name`. */
  faults: Fault[]
}

/** Checks what is given against what is declared, and fills in what is absent. */
export function applyVariables(
  declared: readonly TemplateVariable[],
  given: Readonly<Record<string, unknown>>,
): AppliedVariables {
  const size = sizeFault(given)
  if (size !== null) return { values: {}, faults: [{ path: '', message: size }] }
  if (declared.length === 0) return { values: { ...given }, faults: [] }
  const faults: Fault[] = []
  const values: Record<string, unknown> = {}
  for (const variable of declared) {
    const { name, type } = variable
    const value = (Object.hasOwn(given, name) ? given[name] : null) ?? variable.default ?? null
    const fault = value === null ? missingFault(variable) : findTypeFault(type, value)
    if (fault !== null) faults.push({ path: pointer('', name), message: fault })
    values[name] = value
  }
  const known = new Set(declared.map(({ name }) => name))
  for (const name of Object.keys(given)) {
    if (known.has(name)) continue
    faults.push({ path: pointer('', name), message: unknownFault(known) })
  }
  return { values, faults }
}

function missingFault({ type, required = true, ...variable }: TemplateVariable): string | null {
  if (!required || variable.default !== undefined) return null
  return `Is missing. Give ${sampleOf[type]}, or declare it with a default or "required": false.`
}

function unknownFault(known: ReadonlySet<string>): string {
  const names = [...known].slice(0, MAX_NAMED).join(', ')
  return `The template declares no such variable; it has ${names}${known.size > MAX_NAMED ? ', …' : ''}. Correct the name, or leave it out.`
}

const sampleOf: Record<VariableType, string> = {
  string: 'a string',
  number: 'a number',
  boolean: 'true or false',
  date: 'a date such as 2026-01-31 or 2026-01-31T09:00:00Z',
  url: 'an absolute URL that begins with https:// or http://',
  array: 'a list',
  object: 'an object',
}

function findTypeFault(type: VariableType, value: unknown): string | null {
  if (isOfType(type, value)) return null
  return `Must be ${sampleOf[type]}, and is ${nameOf(value)}.`
}

function nameOf(value: unknown): string {
  if (value === null) return 'null'
  if (Array.isArray(value)) return 'a list'
  if (typeof value === 'boolean') return String(value)
  if (typeof value === 'object') return 'an object'
  return typeof value === 'string' ? JSON.stringify(value.slice(0, 40)) : `the ${typeof value} ${value}`
}

function isOfType(type: VariableType, value: unknown): boolean {
  if (type === 'array') return Array.isArray(value)
  if (type === 'object') return typeof value === 'object' && value !== null && !Array.isArray(value)
  if (type === 'date') return typeof value === 'string' && isDate(value)
  if (type === 'url') return typeof value === 'string' && isWebUrl(value)
  return typeof value === type
}

function isDate(text: string): boolean {
  const midnight = new Date(`${text.slice(0, 10)}T00:00:00Z`)
  // `Date` alone takes 30 February for 2 March.
  const isDay = !Number.isNaN(midnight.getTime()) && midnight.toISOString().startsWith(text.slice(0, 10))
  return DATE.test(text) && isDay && !Number.isNaN(Date.parse(text))
}

/** Not `javascript:` and the like, since it ends up in links. */
function isWebUrl(text: string): boolean {
  const url = URL.parse(text)
  return (
    url !== null && (url.protocol === 'https:' || url.protocol === 'http:') && findLineFault(text) === null
  )
}

/** @returns null when it is not too large or too deep */
function sizeFault(value: unknown): string | null {
  if (isDeeper(value, MAX_DEPTH))
    return `Lists and objects are more than ${MAX_DEPTH} deep in one another. Flatten them.`
  const bytes = Buffer.byteLength(JSON.stringify(value) ?? '')
  if (bytes <= MAX_VARIABLES_BYTES) return null
  return `There are ${bytes} octets of variables; at most ${MAX_VARIABLES_BYTES} are allowed. Leave some out.`
}

function isDeeper(value: unknown, depth: number): boolean {
  if (typeof value !== 'object' || value === null) return false
  return depth === 0 || Object.values(value).some((inner) => isDeeper(inner, depth - 1))
}

/** Of a name or a slug that is shown to people. */
export function findNameFault(text: string, max: number): string | null {
  return findLengthFault(text, 1, max) ?? findLineFault(text)
}
