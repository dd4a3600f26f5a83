/** Rendering templates of tenants, each in a thread that can be ended. */
export type {
  Rendering,
  RenderOutcome,
  TemplateBundle,
  TemplateFault,
  TemplateInspection,
  TemplatePart,
  TemplateReference,
  TemplateSource,
  TemplateVariables,
} from './render-job.ts'
export { createRenderer, type RendererOptions, type TemplateRenderer } from './renderer.ts'
