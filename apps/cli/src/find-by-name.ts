/** What people call by its name: commands take that as well as the id. */

/**
 * @param kind as the commands have it
 * @param all is asked for only where `word` is no id
 * @param nameOf what people call one of them
 * @param name by which it is known, where it is not `word` itself
 * @returns its id
 * @throws {Error} a sentence, when there is none of the name
 */
export async function findByName<One extends { id: string }>(
  kind: string,
  word: string,
  all: () => AsyncIterable<One>,
  nameOf: (one: One) => string,
  name = word,
): Promise<string> {
  if (/^[a-z]{3}_[0-9a-f]{32}$/.test(word)) return word
  for await (const one of all()) if (nameOf(one) === name) return one.id
  throw new Error(`There is no ${kind} "${word}". "${kind} list" shows all.`)
}
