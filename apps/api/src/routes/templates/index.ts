/** Templates of mails. */
import type { RouteGroup } from '../../route.ts'
import { createTemplate } from './create-template.ts'
import { deleteTemplate } from './delete-template.ts'
import { getTemplate } from './get-template.ts'
import { getTemplateVersion } from './get-template-version.ts'
import { listTemplateVersions } from './list-template-versions.ts'
import { listTemplates } from './list-templates.ts'
import { publishTemplate } from './publish-template.ts'
import { renderTemplate } from './render-template.ts'
import {
  Template,
  TemplateChange,
  TemplateInput,
  TemplatePublication,
  TemplateRendering,
  TemplateSummary,
  TemplateTest,
  TemplateTrial,
  TemplateVersion,
  TemplateVersionSummary,
} from './schemas.ts'
import { testTemplate } from './test-template.ts'
import { updateTemplate } from './update-template.ts'

export const templateRoutes: RouteGroup = {
  tag: {
    name: 'Templates',
    description:
      'Subjects and bodies in Liquid, with versions, typed variables, layouts and partials. POST /send names one by its slug.',
  },
  schemas: [
    ...[Template, TemplateSummary, TemplateInput, TemplateChange, TemplatePublication],
    ...[TemplateVersion, TemplateVersionSummary, TemplateTrial, TemplateTest, TemplateRendering],
  ],
  routes: [
    ...[listTemplates, createTemplate, getTemplate, updateTemplate, deleteTemplate],
    ...[publishTemplate, listTemplateVersions, getTemplateVersion, renderTemplate, testTemplate],
  ],
}
