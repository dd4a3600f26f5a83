/** What the routes of templates take and answer. */
import { type TemplateKind, templateKinds, type VariableType, variableTypes } from '@valija/core'
import { Type } from 'typebox'
import { named, nullable, ref, strictObject, time } from '../../route.ts'
import { AddressInput, AddressListInput } from '../../schemas/message-input.ts'

const slug = Type.String({
  description:
    'What it is named by, unique among all of the tenant: 1 to 64 lower-case letters, digits, _ and -.',
  examples: ['receipt'],
})
const name = Type.String({ description: 'For people, at most 200 characters; the slug if absent.' })
const kind = Type.Unsafe<TemplateKind>(
  Type.Enum([...templateKinds], {
    default: 'template',
    description:
      'What `{% layout %}` names is a layout, what `{% render %}` and `{% include %}` name is a partial.',
  }),
)
const subject = Type.String({ description: 'One line, with variables: `Your receipt {{ number }}`.' })
const text = Type.String({ description: 'Liquid; null: made from html.' })
const html = Type.String({
  description: 'Liquid; what variables put in is escaped, unless `| raw` says otherwise.',
})

const variable = strictObject({
  name: Type.String({ description: 'Letters, digits, _ and -.' }),
  type: Type.Unsafe<VariableType>(Type.Enum([...variableTypes])),
  required: Type.Optional(
    Type.Boolean({
      description: 'false: may be absent, and is null then. Absent: true, unless there is a default.',
    }),
  ),
  default: Type.Optional(Type.Unknown({ description: 'Stands in for one that is absent.' })),
})
const variables = Type.Array(variable, {
  description: 'What it takes. Empty: anything, and whatever it uses must be given.',
})
const publish = (usual: boolean) =>
  Type.Optional(
    Type.Boolean({
      default: usual,
      description: 'Whether the new version is the one that is sent from now on.',
    }),
  )

export const TemplateInput = named(
  'TemplateInput',
  strictObject(
    {
      slug,
      name: Type.Optional(name),
      kind: Type.Optional(kind),
      subject: Type.Optional(nullable(subject)),
      text: Type.Optional(nullable(text)),
      html: Type.Optional(nullable(html)),
      variables: Type.Optional(variables),
      publish: publish(true),
    },
    {
      description: 'Required: slug, and subject with text or html; a layout or partial has no subject.',
      examples: [
        {
          slug: 'receipt',
          name: 'Receipt',
          subject: 'Your receipt {{ number }}',
          html: '<p>Hello {{ first_name }}, you paid {{ total }}.</p>',
          variables: [
            { name: 'number', type: 'string' },
            { name: 'first_name', type: 'string', default: 'there' },
            { name: 'total', type: 'string' },
          ],
        },
      ],
    },
  ),
)

export const TemplateChange = named(
  'TemplateChange',
  strictObject({
    slug: Type.Optional(slug),
    name: Type.Optional(name),
    subject: Type.Optional(nullable(subject)),
    text: Type.Optional(nullable(text)),
    html: Type.Optional(nullable(html)),
    variables: Type.Optional(variables),
    publish: publish(false),
  }),
)

const summary = {
  id: Type.String({ pattern: '^tpl_[0-9a-f]{32}$' }),
  slug,
  name,
  kind,
  version: Type.Integer({ description: 'The newest version.' }),
  published_version: nullable(Type.Integer({ description: 'The version that is sent; null: none yet.' })),
  created_at: time('When it was made.'),
  updated_at: time('When it was changed or published last.'),
}
const content = { subject: nullable(subject), text: nullable(text), html: nullable(html), variables }

export const TemplateSummary = named(
  'TemplateSummary',
  Type.Object(summary, { description: 'A template, layout or partial, without what it holds.' }),
)

export const Template = named(
  'Template',
  Type.Object(
    { ...summary, ...content },
    { description: 'A template, layout or partial as its newest version is.' },
  ),
)

const versionFields = {
  id: Type.String({ pattern: '^tpv_[0-9a-f]{32}$' }),
  version: Type.Integer({ description: 'Its number, from 1.' }),
  size_bytes: Type.Integer({ description: 'Of subject, text and html.' }),
  is_published: Type.Boolean({ description: 'Whether it is the one that is sent.' }),
  created_at: time('When it was made.'),
  published_at: nullable(time('When it was published first; null: never.')),
}

export const TemplateVersionSummary = named(
  'TemplateVersionSummary',
  Type.Object(versionFields, { description: 'A version, without what it holds.' }),
)

export const TemplateVersion = named(
  'TemplateVersion',
  Type.Object({ ...versionFields, ...content }, { description: 'A version, which never changes.' }),
)

const version = Type.Optional(
  Type.Integer({ minimum: 1, maximum: 2_147_483_647, description: 'Absent: the newest, published or not.' }),
)
const given = Type.Optional(
  Type.Record(Type.String(), Type.Unknown(), { description: 'The values of its variables.' }),
)

export const TemplatePublication = named('TemplatePublication', nullable(strictObject({ version })))

export const TemplateTrial = named('TemplateTrial', strictObject({ version, variables: given }))

export const TemplateTest = named(
  'TemplateTest',
  strictObject({
    to: Type.Optional(ref(AddressListInput)),
    from: Type.Optional(
      Type.Unsafe<{ email: string; name?: string } | string>({
        ...ref(AddressInput),
        description: 'Absent: `templates@` the newest verified domain.',
      }),
    ),
    version,
    variables: given,
  }),
)

export const TemplateRendering = named(
  'TemplateRendering',
  Type.Object(
    {
      version: Type.Integer(),
      subject: nullable(Type.String({ description: 'null: of a layout or partial.' })),
      text: nullable(Type.String({ description: 'Made from html where it has none.' })),
      html: nullable(Type.String()),
      warnings: Type.Array(
        Type.Object({
          code: Type.String({ description: '`variable_unused`; new ones may come.' }),
          message: Type.String(),
        }),
      ),
    },
    { description: 'What a template renders to.' },
  ),
)
