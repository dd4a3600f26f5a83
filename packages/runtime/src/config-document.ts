/** The configuration schema as documents: docs/configuration.md and .env.example. */
import type { Group, Variable } from './config-schema.ts'
import { variables } from './config-schema.ts'

const INTRODUCTION = `# Configuration

<!-- Generated from packages/runtime/src/config-schema.ts by tools/generate-configuration.ts. Do not edit. -->

Everything is set by environment variables. They are read once, at the start; a bad value, a missing one, or an unknown
name that begins with \`VALIJA_\` stops the start, with all faults listed at once. An empty value counts as absent.

\`npm start\` and \`npm run valija -- <command>\` also read a file \`.env\` in the working folder (or \`VALIJA_ENV_FILE\`), of the form of
[.env.example](../.env.example). A variable that is set already, if only to nothing, goes before the file's.

\`npm start\` needs none of them. Elsewhere *required by* names the processes that do not start without it.

| kind | is written as |
|---|---|
| duration | a number and \`ms\`, \`s\`, \`m\`, \`h\` or \`d\`: \`500ms\`, \`30s\`, \`24h\`, \`30d\` |
| size | a number and \`KiB\`, \`MiB\`, \`GiB\` (or \`KB\`, \`MB\`, \`GB\`; bytes without): \`40MiB\` |
| list | parted by commas: \`10.0.0.0/8,fd00::/8\`; a lone address is a network of one |
`

const code = (text: string): string => `\`${text}\``

function row({ name, kind, default: preset, sentence, isSecret, requiredBy }: Variable): string {
  const shownDefault = preset === null ? '' : preset === '' ? 'empty' : code(preset)
  const notes = [
    isSecret ? 'Secret.' : '',
    requiredBy ? `Required by ${requiredBy.map(code).join(', ')}.` : '',
  ]
  const text = [sentence, ...notes].filter(Boolean).join(' ')
  return `| ${[code(name), kind.label, shownDefault, text].map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`
}

function grouped(): Map<Group, Variable[]> {
  return Map.groupBy(
    variables.map(([, variable]) => variable),
    ({ group }) => group,
  )
}

/** docs/configuration.md: one table for each group. */
export function configurationPage(): string {
  const sections = [...grouped()].map(([group, members]) =>
    [
      `## ${group}\n`,
      '| variable | kind | default | meaning |',
      '|---|---|---|---|',
      ...members.map(row),
      '',
    ].join('\n'),
  )
  return [INTRODUCTION, ...sections].join('\n')
}

function lines({ name, default: preset, example, sentence, requiredBy }: Variable): string {
  const required = requiredBy ? ` Required by ${requiredBy.join(', ')}.` : ''
  return `# ${sentence.replaceAll('`', '')}${required}\n# ${name}=${preset || example || ''}\n`
}

/** .env.example: every variable, commented out, with its default or an example. */
export function environmentExample(): string {
  const introduction =
    '# Generated from packages/runtime/src/config-schema.ts by tools/generate-configuration.ts. Do not edit: copy it to .env,\n' +
    '# which npm start and npm run valija read, and set there what you need. Variables that are set already go before it.\n' +
    '# Every value shown is the default or an example. docs/configuration.md explains the kinds of values.\n'
  const sections = [...grouped()].map(([group, members]) =>
    [`# ---- ${group} ----\n`, ...members.map(lines)].join('\n'),
  )
  return [introduction, ...sections].join('\n')
}
