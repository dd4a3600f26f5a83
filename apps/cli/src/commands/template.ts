/** `valija template …`: the tenant's templates, and those of a folder brought there. */
import type { Template, TemplateSummary, Valija } from '@valija/client'
import { type ApiFlags, apiFlags, openApi } from '../api-client.ts'
import { type Command, command, UsageError } from '../command.ts'
import { given, need, readNumber, variableFlags } from '../flag-values.ts'
import {
  jsonFlag,
  listFlags,
  note,
  pageQuery,
  print,
  printFields,
  printJson,
  printList,
  printTable,
} from '../output.ts'

const flags = { ...apiFlags, ...jsonFlag }
const version = { type: 'string', value: '<n>', help: 'this version; the newest' } as const

export const templateCommands: readonly Command[] = [
  command({
    name: 'template list',
    summary: 'templates, layouts and partials, newest first',
    flags: {
      kind: { type: 'string', value: '<kind>', help: 'template, layout or partial' },
      ...apiFlags,
      ...listFlags,
    },
    example: 'template list --kind layout',
    run: async ({ flags }) => {
      const query = { ...given({ kind: flags.kind as Template['kind'] | undefined }), ...pageQuery(flags) }
      await printList((await openApi(flags)).list('GET /templates', { query }), flags, {
        slug: ({ slug }) => slug,
        kind: ({ kind }) => kind,
        newest: ({ version }) => version,
        published: ({ published_version }) => published_version,
        changed: ({ updated_at }) => updated_at,
        id: ({ id }) => id,
        name: ({ name }) => name,
      })
    },
  }),
  command({
    name: 'template show',
    args: '<slug>',
    summary: 'what a template holds, and its last versions; by slug or id',
    flags: { version, ...flags },
    example: 'template show receipt',
    run: async ({ args, flags }) => {
      const { api, id } = await openTemplate(flags, args)
      const number = readNumber('version', flags.version)
      const path = { id, version: `${number}` }
      const template = await api.request('GET /templates/{id}', { path })
      const shown =
        number === undefined
          ? template
          : await api.request('GET /templates/{id}/versions/{version}', { path })
      if (flags.json) return printJson(shown)
      const { data } = await api.list('GET /templates/{id}/versions', { path, query: { limit: 10 } }).page()
      showTemplate({ ...template, ...shown, id }, data)
    },
  }),
  command({
    name: 'template push',
    args: '<file or folder>…',
    summary: 'makes the templates those of the files, as drafts, or published',
    details:
      'Files of one name are one template, and the name is its slug: receipt.html, receipt.txt, and receipt.json with subject, variables, name, and what has no file of its own. ' +
      'In folders named layouts and partials lie those. What is the same already is left alone; nothing is published while one of them has a fault, and nothing is deleted.',
    flags: {
      publish: {
        type: 'boolean',
        help: 'sends them from now on, once all are saved; otherwise they are drafts',
      },
      'dry-run': {
        type: 'boolean',
        help: 'writes nothing: tells what would change, and each fault that would be refused; with --publish also of what they use',
      },
      ...flags,
    },
    example: 'template push templates/ --publish',
    run: async ({ args, flags }) => {
      const [{ readTemplates }, { pushTemplates }] = await Promise.all([
        import('../template-files.ts'),
        import('../push-templates.ts'),
      ])
      const { publish, 'dry-run': isDry } = flags
      const ignored: string[] = []
      const files = await readTemplates(args, (file) => ignored.push(file))
      if (!flags.json) for (const file of ignored) note(`ignored: ${file}`)
      const data = await pushTemplates(await openApi(flags), files, { publish, isDry })
      if (flags.json) return printJson({ data, ignored })
      printTable(
        ['slug', 'kind', isDry ? 'would be' : 'was', 'newest', 'published'],
        data.map((one) => [one.slug, one.kind, one.change, one.version, one.published_version]),
      )
      const drafts = data.filter((one) => one.version !== one.published_version).length
      if (drafts > 0 && !isDry)
        note(`\n${drafts} with a draft that is not sent: --publish, or "template publish <slug>".`)
    },
  }),
  command({
    name: 'template publish',
    args: '<slug>',
    summary: 'sends a version from now on: the newest, or an earlier one to go back to',
    flags: { version, ...flags },
    example: 'template publish receipt --version 2',
    run: async ({ args, flags }) => {
      const body = given({ version: readNumber('version', flags.version) })
      const { api, id } = await openTemplate(flags, args)
      const made = await api.request('POST /templates/{id}/publish', { path: { id }, body })
      if (flags.json) printJson(made)
      else print(`${made.slug}  version ${made.published_version} is sent from now on\n`)
    },
  }),
  command({
    name: 'template test',
    args: '<slug>',
    summary: 'sends what it makes of its variables as a test mail, and prints the id of that',
    flags: {
      from: { type: 'string', value: '<address>', help: 'the sender' },
      to: { type: 'string', multiple: true, value: '<address>', help: 'a recipient' },
      version,
      ...variableFlags,
      ...flags,
    },
    example: 'template test receipt --from hi@acme.test --to me@acme.test --variable number=42',
    run: async ({ args, flags }) => {
      const { api, id } = await openTemplate(flags, args)
      const { number, variables } = await filling(api, id, flags)
      const body = { from: need('from', flags.from), to: flags.to, variables, ...given({ version: number }) }
      const sent = await api.request('POST /templates/{id}/test', { path: { id }, body })
      if (flags.json) printJson(sent)
      else print(`${sent.id}\n`)
    },
  }),
  command({
    name: 'template delete',
    args: '<slug>',
    summary: 'removes a template with all its versions; mails that were made from it stay',
    flags: apiFlags,
    example: 'template delete receipt',
    run: async ({ args, flags }) => {
      const { api, id } = await openTemplate(flags, args)
      await api.request('DELETE /templates/{id}', { path: { id } })
      print(`deleted  ${id}\n`)
    },
  }),
  command({
    name: 'template render',
    args: '<slug>',
    summary: 'what a template makes of its variables; sends nothing',
    flags: {
      version,
      ...variableFlags,
      html: { type: 'boolean', help: 'only the HTML' },
      text: { type: 'boolean', help: 'only the text' },
      ...flags,
    },
    example: 'template render receipt --variable number=42 --html > receipt.html',
    run: async ({ args, flags }) => {
      if ([flags.html, flags.text, flags.json].filter(Boolean).length > 1)
        throw new UsageError('Say one of --html, --text and --json.')
      const { api, id } = await openTemplate(flags, args)
      const { number, variables } = await filling(api, id, flags)
      const body = { variables, ...given({ version: number }) }
      const made = await api.request('POST /templates/{id}/render', { path: { id }, body })
      if (flags.json) return printJson(made)
      for (const { message } of made.warnings) note(`warning: ${message}`)
      const part = flags.html ? 'html' : flags.text ? 'text' : undefined
      if (part === undefined) return showParts(made)
      const content = made[part]
      if (content === null) throw new Error(`It has no ${part === 'html' ? 'HTML' : 'text'}.`)
      print(content)
    },
  }),
]

async function openTemplate(flags: ApiFlags, [slug = '']: readonly string[]) {
  const api = await openApi(flags)
  return { api, id: await findTemplate(api, slug) }
}

/** What a version is filled with, by the types that it declares. */
async function filling(
  api: Valija,
  id: string,
  flags: { version: string | undefined; variable: string[]; variables: string | undefined },
) {
  const { readVariables } = await import('../send-mail.ts')
  const number = readNumber('version', flags.version)
  const variables = await readVariables(flags, async () => {
    const path = { id, version: `${number}` }
    const template =
      number === undefined
        ? api.request('GET /templates/{id}', { path })
        : api.request('GET /templates/{id}/versions/{version}', { path })
    return (await template).variables
  })
  return { number, variables }
}

async function findTemplate(api: Valija, slug: string): Promise<string> {
  if (/^tpl_[0-9a-f]{32}$/.test(slug)) return slug
  const { data } = await api.list('GET /templates', { query: { slug } }).page()
  const [found] = data
  if (found === undefined) throw new Error(`There is no template "${slug}". "template list" shows all.`)
  return found.id
}

function showTemplate(
  template: Template,
  versions: readonly {
    version: number
    created_at: string
    published_at: string | null
    is_published: boolean
  }[],
): void {
  const { id, slug, name, kind, version, variables }: TemplateSummary & Pick<Template, 'variables'> = template
  printFields([
    ['id', id],
    ['slug', slug],
    ['name', name],
    ['kind', kind],
    ['version', version],
    [
      'variables',
      variables
        .map(({ name, type, required }) => `${name}:${type}${required === false ? '?' : ''}`)
        .join(' '),
    ],
  ])
  print('\n')
  printTable(
    ['version', 'sent', 'made', 'first published'],
    versions.map((one) => [one.version, one.is_published, one.created_at, one.published_at]),
  )
  showParts(template)
}

function showParts({ subject, text, html }: Pick<Template, 'subject' | 'text' | 'html'>): void {
  if (subject !== null) print(`\nsubject  ${subject}\n`)
  if (text !== null) print(`\n--- text\n${text.trimEnd()}\n`)
  if (html !== null) print(`\n--- html\n${html.trimEnd()}\n`)
}
