/** Which known name somebody meant who wrote one that is unknown. */

/** Single edits (insert, delete, replace) from one text to the other. */
function editDistance(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, column) => column)
  for (const [index, character] of [...from].entries()) {
    const next = [index + 1]
    for (let column = 1; column <= to.length; column += 1) {
      const replaced = (row[column - 1] ?? 0) + (character === to[column - 1] ? 0 : 1)
      next.push(Math.min(replaced, (row[column] ?? 0) + 1, (next[column - 1] ?? 0) + 1))
    }
    row = next
  }
  return row[to.length] ?? 0
}

/** What is longer is no slip of the pen, and would cost time. */
const longestName = 64

/**
 * The nearest of the known names.
 *
 * @param edits how many single edits may lie between
 * @returns null when none is so near
 */
export function nearestName(
  name: string,
  known: readonly string[],
  edits: number,
): { name: string; edits: number } | null {
  if (name.length > longestName) return null
  const all = known.map((candidate) => ({ name: candidate, edits: editDistance(name, candidate) }))
  const nearest = all.toSorted((one, other) => one.edits - other.edits)[0]
  return nearest !== undefined && nearest.edits <= edits ? nearest : null
}
