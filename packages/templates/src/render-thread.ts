/**
 * The thread in which templates of tenants are parsed and rendered: the entry file of a thread, so importing it has an effect. It knows
 * nothing of the process: its environment is empty. Whatever does not end here in time is ended from outside (render-pool.ts).
 */
import { parentPort } from 'node:worker_threads'
import { type CompiledTemplate, compileTemplate, inspectTemplate } from './compile-template.ts'
import type {
  RenderOutcome,
  TemplateBundle,
  TemplateVariables,
  ThreadAnswer,
  ThreadRequest,
} from './render-job.ts'
import { renderLimits } from './render-limits.ts'

/** Of what was parsed: some ten times as many octets of memory. */
const maxKeptCharacters = 4_000_000

const kept = new Map<string, { template: CompiledTemplate; characters: number }>()
let keptCharacters = 0

function compiled(bundle: TemplateBundle): CompiledTemplate {
  const known = kept.get(bundle.key)
  const entry = known ?? { template: compileTemplate(bundle), characters: charactersOf(bundle) }
  // The one that was used last is the last.
  kept.delete(bundle.key)
  kept.set(bundle.key, entry)
  if (known === undefined) keptCharacters += entry.characters
  for (const [key, { characters }] of kept) {
    if (keptCharacters <= maxKeptCharacters || key === bundle.key) break
    kept.delete(key)
    keptCharacters -= characters
  }
  return entry.template
}

function charactersOf({ root, parts }: TemplateBundle): number {
  return [root, ...parts].reduce(
    (sum, { subject, text, html }) =>
      sum + 1_000 + (subject?.length ?? 0) + (text?.length ?? 0) + (html?.length ?? 0),
    0,
  )
}

/** Renders with one template share their time: what the first ones use up, the others lack. */
function renderAll(template: CompiledTemplate, items: readonly TemplateVariables[]): RenderOutcome[] {
  const endMs = cpuMs() + renderLimits.cpuMs + items.length * renderLimits.cpuMsEach
  return items.map((variables) => template.render(variables, Math.min(renderLimits.cpuMs, endMs - cpuMs())))
}

function cpuMs(): number {
  const { user, system } = process.threadCpuUsage()
  return (user + system) / 1000
}

function answer(request: ThreadRequest): ThreadAnswer {
  if (request.kind === 'inspect')
    return { kind: 'inspected', inspection: inspectTemplate(request.source), cpuMs: cpuMs() }
  const template = compiled(request.bundle)
  const outcomes = renderAll(template, request.items)
  return { kind: 'rendered', outcomes, faults: [...template.faults], cpuMs: cpuMs() }
}

const port = parentPort
if (port === null) throw new Error('is the entry file of a thread')
port.on('message', (request: ThreadRequest) => port.postMessage(answer(request)))
port.postMessage({ kind: 'ready', cpuMs: cpuMs() } satisfies ThreadAnswer)
