/** A `lookup` for connections over HTTP that asks our own resolver, as delivery does, and not the system's. */
import { isIP, type LookupFunction } from 'node:net'
import type { Resolver } from '../dns/dns-answer.ts'

export function resolverLookup(resolver: Resolver): LookupFunction {
  return (hostname, options, callback) => {
    if (isIP(hostname) !== 0) return callback(null, [{ address: hostname, family: isIP(hostname) }])
    const families = [4, 6].filter(
      (family) => !options.family || options.family === family || options.family === `IPv${family}`,
    )
    const ask = async (family: number) => {
      const answer = await resolver.resolve(hostname, family === 6 ? 'AAAA' : 'A')
      return { answer, family }
    }
    void Promise.all(families.map(ask)).then((answers) => {
      const found = answers.flatMap(({ answer, family }) =>
        answer.kind === 'records' ? answer.records.map((address) => ({ address, family })) : [],
      )
      if (found.length > 0) return callback(null, found)
      const isUnsure = answers.some(({ answer }) => answer.kind === 'unavailable')
      const isOwnWant = answers.some(({ answer }) => answer.kind === 'unavailable' && answer.isOwnWant)
      const message = isUnsure ? `${hostname} cannot be looked up now` : `${hostname} has no address`
      const code = isOwnWant ? 'EMFILE' : isUnsure ? 'EAI_AGAIN' : 'ENOTFOUND'
      callback(Object.assign(new Error(message), { code }), '', 0)
    })
  }
}
