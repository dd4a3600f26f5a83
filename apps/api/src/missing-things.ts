/** What a 404 says of an id that names nothing: by the route, so that it is the same for what is another tenant's. */
import { type IdKind, idPrefixes } from '@valija/core'

/** The first part of a path → what its `:id` names, and how one that is not at hand is found. */
const things: Readonly<Record<string, { word: string; kind: IdKind; hint?: string }>> = {
  messages: { word: 'message', kind: 'message' },
  domains: { word: 'domain', kind: 'domain', hint: 'a domain of a name is found in GET /domains' },
  keys: { word: 'key', kind: 'key', hint: 'GET /keys lists those that are not revoked' },
  webhooks: { word: 'webhook', kind: 'webhook', hint: 'GET /webhooks lists them' },
  templates: { word: 'template', kind: 'template', hint: 'a slug is found by GET /templates?slug=' },
  suppressions: {
    word: 'suppression',
    kind: 'suppression',
    hint: 'an address is found by GET /suppressions?email=',
  },
  mailboxes: { word: 'mailbox', kind: 'mailbox', hint: 'GET /mailboxes lists them' },
  inbox: { word: 'mail in the inbox', kind: 'inbox', hint: 'GET /inbox lists them' },
  tenants: { word: 'tenant', kind: 'tenant', hint: 'a name is found in GET /tenants' },
  routes: { word: 'route', kind: 'route', hint: 'a name is found in GET /routes' },
  'route-lists': { word: 'route list', kind: 'routeList', hint: 'a name is found in GET /route-lists' },
  'source-ips': { word: 'source address', kind: 'source', hint: 'an address is found in GET /source-ips' },
}

/**
 * @param route as it was declared: `/templates/:id/versions/:number`
 * @returns undefined where the path has no id
 */
export function sayWhatIsMissing(route: string | undefined): string | undefined {
  const [, first = '', id, ...rest] = route?.split('/') ?? []
  const thing = id === ':id' ? things[first] : undefined
  if (thing === undefined) return undefined
  const inIt = rest.some((part) => part.startsWith(':')) ? ', or it has nothing of this name' : ''
  const hint = thing.hint === undefined ? '' : `; ${thing.hint}`
  return `There is no such ${thing.word}${inIt}: an id looks like ${idPrefixes[thing.kind]}_…${hint}.`
}
