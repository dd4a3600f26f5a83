/** Writes docs/cli.md from the table of commands (apps/cli/src/commands.ts); with `--check` it fails when the page is stale. */
import type { Command, Flag } from '../apps/cli/src/command.ts'
import { commands } from '../apps/cli/src/commands.ts'
import { titleOf } from '../apps/cli/src/help.ts'
import { settleGenerated } from './step.ts'

const introduction = `# The command line

<!-- Written by tools/generate-cli.ts from apps/cli/src/commands.ts: not to be changed by hand. -->

\`npm run valija -- <command>\`; \`--help\` shows what a command takes. In a container the image's entry point is the same program.

Commands that ask the API find the \`npm start\` that runs in the data folder, and take its keys. Elsewhere \`--url\` says where the API is, and \`--key\` or
\`--key-file\` with which key (a key on the command line is there for everybody on the machine to see). What only the operator may do goes with the
operator's key: also \`VALIJA_ADMIN_KEY\`, if that is set, where \`--url\` is not given or has the origin of \`VALIJA_PUBLIC_URL\`. With \`--tenant\` the operator acts for a tenant.

Answers are tables for people, which are not wrapped or cut where standard output is no terminal, and JSON with \`--json\`; a list is then
\`{"data": […], "next_cursor": …}\`. Notes and refusals are on standard error; with \`--json\` what is refused is
a problem as JSON (\`code\`, \`status\`, \`detail\`, \`fix\`, \`errors\`, \`request_id\`): that of the API, or one of the command itself, whose status is null and whose code
is \`typed_wrongly\`, \`invalid_request\` (\`errors\` has each fault by its file) or \`command_failed\`. Exit codes: 0; 1 refused or failed, with what is wrong and what to do; 2 typed wrongly.
`

/** Told once for all commands. */
const shared = new Set(['url', 'key', 'key-file', 'tenant', 'json', 'limit', 'cursor', 'all'])

export function cliPage(all: readonly Command[]): string {
  const groups = Map.groupBy(all, ({ name }) => name.split(' ')[0] ?? '')
  const sections = [...groups].map(
    ([group, members]) => `## ${group}\n\n${members.map(sectionOf).join('\n')}`,
  )
  return [introduction, ...sections].join('\n')
}

function sectionOf(command: Command): string {
  const { summary, details, flags = {}, example } = command
  const own = Object.entries(flags).filter(([name]) => !shared.has(name) || isOwn(command, name))
  const others = Object.keys(flags).filter((name) => shared.has(name) && !isOwn(command, name))
  const rows = own
    .map(([name, flag]) => `| \`${flagTitle(name, flag).replaceAll('|', '\\|')}\` | ${cell(flag.help)} |\n`)
    .join('')
  return [
    `**\`${titleOf(command)}\`**: ${cell(summary)}.${details === undefined ? '' : ` ${cell(details)}`}\n`,
    ...(example === undefined ? [] : [`\`\`\`sh\nnpm run valija -- ${example}\n\`\`\`\n`]),
    ...(own.length === 0 ? [] : [`| flag | |\n|---|---|\n${rows}`]),
    ...(others.length === 0 ? [] : [`Also ${others.map((name) => `\`--${name}\``).join(' ')}.\n`]),
  ].join('\n')
}

/** A limit of a tenant or key is not that of a list. */
const isOwn = ({ flags = {} }: Command, flag: string) => flag === 'limit' && flags[flag]?.multiple === true

const flagTitle = (name: string, { type, value = '<text>', multiple }: Flag) =>
  `--${name}${type === 'string' ? ` ${value}` : ''}${multiple ? ' …' : ''}`

const cell = (text: string) => text.replaceAll('|', '\\|').replace(/<[^>]+>/g, '`$&`')

if (import.meta.main) settleGenerated('docs/cli.md', cliPage(commands), 'node tools/generate-cli.ts')
