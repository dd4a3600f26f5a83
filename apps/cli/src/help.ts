/** What the command line says of itself. */
import type { Command } from './command.ts'

const program = 'npm run valija --'

/** All commands: those of one word, and the others by their first word. */
export function overview(commands: readonly Command[]): string {
  const lines = [...new Map(commands.map((one) => [firstWord(one), one])).keys()].map(
    (word): [string, string] => {
      const group = commands.filter((one) => firstWord(one) === word)
      const [only] = group
      if (group.length === 1 && only !== undefined) return [only.name, only.summary]
      const others = group.flatMap(({ name }) => name.split(' ').slice(1))
      const bare = group.find(({ name }) => name === word)
      return [word, `${bare ? `${bare.summary}; ` : ''}${others.join(', ')}`]
    },
  )
  return [
    `${program} <command>\n`,
    aligned(lines),
    `\n${program} <command> --help shows what it takes, --version which this is. Exit codes: 0; 1 refused or failed; 2 typed wrongly.\n`,
  ].join('\n')
}

/** The commands that begin with a word; null when there are none. */
export function groupHelp(commands: readonly Command[], word: string): string | null {
  const group = commands.filter((one) => firstWord(one) === word)
  if (group.length === 0) return null
  return `${program} ${word} …\n\n${aligned(group.map((one) => [titleOf(one), one.summary]))}\n`
}

export function commandHelp(command: Command): string {
  const { summary, details, flags = {}, example } = command
  const flagLines = Object.entries(flags).map(([name, { value, type, multiple, help }]): [string, string] => [
    `--${name}${type === 'string' ? ` ${value ?? '<text>'}` : ''}${multiple ? ' …' : ''}`,
    help,
  ])
  return [
    `${program} ${titleOf(command)}${flagLines.length > 0 ? ' [flags]' : ''}\n`,
    `  ${summary}${details === undefined ? '' : `\n\n  ${details}`}\n`,
    ...(flagLines.length > 0 ? [`${aligned(flagLines)}\n`] : []),
    ...(example === undefined ? [] : [`  for example: ${program} ${example}\n`]),
  ].join('\n')
}

export const titleOf = ({ name, args }: Command) => (args === undefined ? name : `${name} ${args}`)

const firstWord = ({ name }: Command) => name.split(' ')[0] ?? ''

function aligned(lines: readonly [string, string][]): string {
  const width = Math.max(...lines.map(([left]) => left.length))
  return lines.map(([left, right]) => `  ${left.padEnd(width)}  ${right}`).join('\n')
}
