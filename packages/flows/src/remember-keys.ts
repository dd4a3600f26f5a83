/**
 * What follows from a key that came a moment ago: a client sends its key with each request, and its caller is looked up by its hash. Measured under
 * full load, hashing it twice and checking its form took 20 µs of processor time for each mail, 4 % of what the API takes for it in all.
 *
 * What is remembered here follows from the text alone, so it cannot become wrong: whether a key is still one is asked elsewhere (brief-memory.ts). But keys
 * must not lie about: no text stays for more than 2 s, however often it comes, and few do at once.
 */

const forMs = 2_000
/** One more, and all begin anew: whoever guesses costs the others some hashes. */
const size = 256
/** A header with a key in it is shorter. */
const maxLength = 128

/**
 * @param derive follows from its text alone; what it throws is not remembered
 * @returns the same function
 */
export function rememberKeys<T>(derive: (text: string) => T): (text: string) => T {
  const known = new Map<string, T>()
  let isToForget = false
  const forget = () => {
    known.clear()
    isToForget = false
  }
  return (text) => {
    const present = known.get(text)
    if (present !== undefined) return present
    const derived = derive(text)
    if (text.length > maxLength) return derived
    if (known.size >= size) known.clear()
    if (!isToForget) setTimeout(forget, forMs).unref()
    isToForget = true
    known.set(text, derived)
    return derived
  }
}
