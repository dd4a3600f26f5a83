/** What `valija init` says: a line for each step as soon as it is over, or all of them as JSON at the end. */
import type { Check, DomainView } from '@valija/flows'
import { checkLines } from './check-lines.ts'
import { print, printJson } from './output.ts'
import { printDomain } from './show-domain.ts'

export type StepName = 'secrets' | 'delivery' | 'database' | 'tenant' | 'domain' | 'doctor' | 'test_mail'

/** What a step came to. */
const words = {
  done: 'done',
  done_before: 'done before',
  to_do: 'to be done by you',
  failed: 'FAILED',
  skipped: 'skipped',
}

export interface Outcome {
  status: keyof typeof words
  /** What was done or seen, as a sentence without a full stop. */
  detail: string
  /** What to do now. */
  fix?: string
}

/** What the steps made and saw, beside their outcome. */
export interface Findings {
  /** The key only in the run that made it: it is not kept. */
  tenant: { id: string; name: string; key: string | null }
  domain: DomainView
  checks: Check[]
  message_id: string
}

export interface Report {
  /**
   * Does a step and tells of it. What it throws is its failure.
   *
   * @returns whether what builds on it can go on
   */
  step(name: StepName, work: () => Promise<Outcome & { found?: Partial<Findings> }>): Promise<boolean>
  skip(name: StepName, because: StepName): void
  /** Sums up. @returns whether all is done */
  end(): boolean
}

export function openReport(isJson: boolean): Report {
  const steps: (Outcome & { name: StepName })[] = []
  const findings: Partial<Findings> = {}
  const add = (name: StepName, { status, detail, fix }: Outcome, found: Partial<Findings> = {}) => {
    steps.push({ name, status, detail, ...(fix !== undefined && { fix }) })
    Object.assign(findings, found)
    if (isJson) return
    print(`${words[status].padEnd(17)}  ${name.padEnd(9)}  ${detail}\n`)
    if (fix !== undefined) print(`${indent}→ ${fix}\n`)
    show(found)
  }
  const isOpen = ({ status }: Outcome) => status !== 'done' && status !== 'done_before'
  // The others only wait for these.
  const isRoot = ({ status }: Outcome) => status !== 'skipped'
  return {
    step: async (name, work) => {
      const { found, ...outcome } = await work().catch(
        (error: Error): Outcome & { found?: Partial<Findings> } => ({
          status: 'failed',
          detail: sentenceOf(error),
        }),
      )
      add(name, outcome, found)
      return outcome.status !== 'failed'
    },
    skip: (name, because) => add(name, { status: 'skipped', detail: `waits for ${because}` }),
    end: () => {
      const open = steps.filter(isOpen)
      const isDone = open.length === 0
      if (isJson) printJson({ ok: isDone, steps, ...findings })
      else print(isDone ? allDone : `\nNot done: ${open.filter(isRoot).map(wordsOf).join(', ')}. ${goOn}`)
      return isDone
    },
  }
}

const indent = ' '.repeat(30)
const goOn = 'Mend that and run this again: what is done stays, and it goes on from here.\n'
const allDone = `
All is done. What sends, as many as you like of each, in this folder: npm run valija -- api, npm run valija -- worker, npm run valija -- smtp
`

const wordsOf = ({ name, status }: Outcome & { name: StepName }) => `${name} (${words[status]})`

function show({ tenant, domain, checks }: Partial<Findings>): void {
  if (tenant?.key) print(`${indent}key  ${tenant.key}  (shown once)\n`)
  if (domain !== undefined) {
    print('\n')
    printDomain(domain)
    print('\n')
  }
  const wrong = checks?.filter(({ status }) => status === 'failed' || status === 'warning') ?? []
  if (wrong.length > 0) print(`\n${checkLines(wrong).join('\n')}\n\n`)
}

/** Of a refusal by the product its text, without the code for programs. */
function sentenceOf({ message, detail }: Error & { detail?: unknown }): string {
  return (typeof detail === 'string' ? detail : message).replace(/\.$/, '')
}
