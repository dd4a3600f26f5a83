/**
 * The states check: the database's CHECK constraints name exactly the states that the code knows. The lists in the
 * code are the source; a migration that forgets a state would refuse rows that the code writes, and one that keeps an
 * old state would hold rows that no transition leads out of.
 */
import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Finding, repositoryRoot } from './source-tree.ts'
import { report } from './step.ts'

/** Compares the constraint `name`, as the newest migration that defines it has it, with `states`. */
export function checkStates(root: string, name: string, states: readonly string[]): Finding[] {
  const migrations = globSync('prisma/migrations/*/migration.sql', { cwd: root }).sort().reverse()
  for (const path of migrations) {
    const found = constraintValues(readFileSync(join(root, path), 'utf8'), name)
    if (found === undefined) continue
    const missing = states.filter((state) => !found.values.includes(state))
    const unknown = found.values.filter((value) => !states.includes(value))
    const finding = (message: string): Finding => ({
      path: path.replaceAll('\\', '/'),
      line: found.line,
      message,
    })
    return [
      ...missing.map((state) =>
        finding(`${name} lacks the state '${state}': write a migration that adds it`),
      ),
      ...unknown.map((value) => finding(`${name} allows '${value}', which is no state of the code`)),
    ]
  }
  return [{ path: 'prisma/migrations', line: 1, message: `no migration defines the constraint ${name}` }]
}

/**
 * The quoted values in the last `CONSTRAINT <name> CHECK (…)` of a migration, and its line (from 1); undefined when it
 * has none. Understands `IN ('a', 'b')` and PostgreSQL's own `= ANY (ARRAY['a'::text, …])`.
 */
export function constraintValues(sql: string, name: string): { values: string[]; line: number } | undefined {
  const text = blankComments(sql)
  const starts = [...text.matchAll(new RegExp(`\\bCONSTRAINT\\s+"?${name}"?\\s+CHECK\\s*\\(`, 'gi'))]
  const start = starts.at(-1)
  if (start === undefined) return undefined
  const body = text.slice(start.index + start[0].length)
  const values = [...body.slice(0, closingParenthesis(body)).matchAll(/'([^']*)'/g)].map(
    (match) => match[1] ?? '',
  )
  return { values, line: text.slice(0, start.index).split('\n').length }
}

/** Replaces comments by spaces, so that a state named in a comment does not count and lines keep their numbers. */
function blankComments(sql: string): string {
  return sql.replace(/--.*|\/\*[\s\S]*?\*\//g, (comment) => comment.replace(/[^\n]/g, ' '))
}

function closingParenthesis(text: string): number {
  let depth = 1
  for (let at = 0; at < text.length; at += 1) {
    if (text[at] === '(') depth += 1
    if (text[at] === ')') depth -= 1
    if (depth === 0) return at
  }
  throw new Error('a CHECK constraint has no closing parenthesis')
}

if (import.meta.main) {
  const { deliveryStates, recipientStates } = await import('@valija/core')
  report('states', [
    ...checkStates(repositoryRoot, 'recipients_status_check', recipientStates),
    ...checkStates(repositoryRoot, 'deliveries_state_check', deliveryStates),
  ])
}
