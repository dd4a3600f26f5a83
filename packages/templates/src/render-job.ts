/** What the renderer is asked and what it answers: the same on both sides of the thread. */

export type TemplatePart = 'subject' | 'text' | 'html'

/** One stored version of a template, a layout or a partial. */
export interface TemplateSource {
  kind: 'template' | 'layout' | 'partial'
  slug: string
  subject: string | null
  text: string | null
  html: string | null
}

/** A version with everything that it uses. */
export interface TemplateBundle {
  /** Names exactly these sources: what was parsed for it is kept under it. */
  key: string
  root: TemplateSource
  /** Layouts and partials that it uses, and what those use. */
  parts: readonly TemplateSource[]
}

export type TemplateVariables = Readonly<Record<string, unknown>>

export interface Rendering {
  subject: string | null
  /** Made from html where the template has none. */
  text: string | null
  html: string | null
  /** The variables that the subject was made with. */
  inSubject: string[]
  /** The variables given that nothing in it asked for. */
  unused: string[]
}

/** One thing wrong with a template, or with what it was given. */
export interface TemplateFault {
  /** Of the template, layout or partial where it is; null: of no one in particular. */
  slug: string | null
  part: TemplatePart | null
  line: number | null
  /** The variable that it is about, with its steps: `['user', 'name']`. */
  variable: string[] | null
  /** A sentence, which names neither part nor line. */
  message: string
}

export type RenderOutcome =
  | { kind: 'rendered'; rendering: Rendering }
  | { kind: 'faulty'; faults: TemplateFault[] }

/** A layout or partial that a source names. */
export interface TemplateReference {
  slug: string
  kind: 'layout' | 'partial'
  part: TemplatePart
  line: number
}

export interface TemplateInspection {
  faults: TemplateFault[]
  references: TemplateReference[]
  /** The variables that it expects to be given, where each is used first. */
  variables: { name: string; part: TemplatePart; line: number }[]
}

/** What a thread is sent. */
export type ThreadRequest =
  | { kind: 'render'; tenantId: string; bundle: TemplateBundle; items: readonly TemplateVariables[] }
  | { kind: 'inspect'; source: TemplateSource }

/** What it answers: `ready` first, and then one answer for each request. */
export type ThreadAnswer = {
  /** Processor time of the thread so far. */
  cpuMs: number
} & (
  | { kind: 'ready' }
  /** `faults`: of the sources. */
  | { kind: 'rendered'; outcomes: RenderOutcome[]; faults: TemplateFault[] }
  | { kind: 'inspected'; inspection: TemplateInspection }
)
