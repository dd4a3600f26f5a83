/**
 * The thread in which templates of tenants are parsed and rendered: the entry file of a thread, so importing it has an effect. It knows
 * nothing of the process: its environment is empty. Whatever does not end here in time is ended from outside (thread.ts).
 */
import { parentPort } from 'node:worker_threads'
import { type CompiledTemplate, inspectTemplate } from './compile-template.ts'
import { createKeptTemplates } from './kept-templates.ts'
import type { RenderOutcome, TemplateVariables, ThreadAnswer, ThreadRequest } from './render-job.ts'
import { renderLimits } from './render-limits.ts'

const kept = createKeptTemplates()

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
  const template = kept.get(request.tenantId, request.bundle)
  const outcomes = renderAll(template, request.items)
  return { kind: 'rendered', outcomes, faults: [...template.faults], cpuMs: cpuMs() }
}

const port = parentPort
if (port === null) throw new Error('is the entry file of a thread')
port.on('message', (request: ThreadRequest) => port.postMessage(answer(request)))
port.postMessage({ kind: 'ready', cpuMs: cpuMs() } satisfies ThreadAnswer)
