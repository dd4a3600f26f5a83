/**
 * Which methods a path has, for the answer to one that it does not have (RFC 9110 §15.5.6). The framework only knows that method and
 * path together are no route.
 */
import type { RouteOptions } from 'fastify'

export interface AllowedMethods {
  /** For `onRoute`. */
  note(route: Pick<RouteOptions, 'method' | 'url'>): void
  /** @returns in alphabetical order; empty for a path that is none of ours */
  of(path: string): string[]
}

export function createAllowedMethods(): AllowedMethods {
  const known = new Map<string, { pattern: RegExp; methods: Set<string> }>()
  return {
    note: ({ method, url }) => {
      // Not a path, but all of them.
      if (url === '*') return
      const entry = known.get(url) ?? { pattern: patternOf(url), methods: new Set() }
      for (const name of [method].flat()) entry.methods.add(name)
      known.set(url, entry)
    },
    of: (path) => {
      const found = [...known.values()].filter(({ pattern }) => pattern.test(path))
      return [...new Set(found.flatMap(({ methods }) => [...methods]))].toSorted()
    },
  }
}

/** Of `/messages/:id/raw`. */
function patternOf(url: string): RegExp {
  const parts = url.split('/').map((part) => (part.startsWith(':') ? '[^/]+' : RegExp.escape(part)))
  return new RegExp(`^${parts.join('/')}$`)
}
