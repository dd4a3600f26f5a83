/**
 * Which way a mail is accepted for: what the message names, or what its key is bound to; else the installation's own, where the
 * worker then goes by the lists (choose-route.ts). What is accepted for capture never leaves.
 */
import {
  type Caller,
  invalidRequest,
  ProductError,
  pinRoute,
  type RouteKind,
  type ValidatedMessage,
} from '@valija/core'
import { asProductError } from '@valija/store'
import type { RouteDirectory } from './route-directory.ts'

export interface AcceptedWay {
  /** As the delivery rows have it: a route's name. */
  route: string
  /** As the 202 says it. */
  delivery: RouteKind
}

/**
 * @param delivery VALIJA_DELIVERY
 * @throws {ProductError} invalid_request, key_restricted, database_unavailable
 */
export async function acceptRoute(
  directory: Pick<RouteDirectory, 'present' | 'refresh'>,
  caller: Caller,
  message: Pick<ValidatedMessage, 'route' | 'stream' | 'from'>,
  delivery: RouteKind,
): Promise<AcceptedWay> {
  if (caller.route !== null && message.route !== null && message.route !== caller.route) {
    throw new ProductError('key_restricted', {
      detail: `The key is bound to the route ${caller.route}; leave route out.`,
    })
  }
  const name = caller.route ?? message.route
  if (name === null) return usualWay(directory, caller, message, delivery)
  if (name === 'capture') return { route: name, delivery: name }
  if (name === delivery) return { route: pinRoute(name), delivery }
  if (directory.present.find(caller.tenantId, name) === null) {
    await directory.refresh().catch((error: unknown) => {
      throw asProductError(error)
    })
  }
  const found = directory.present.find(caller.tenantId, name)
  if (found !== null) return { route: name, delivery: found.kind }
  if (caller.route !== null) {
    throw new ProductError('key_restricted', {
      detail: `The key is bound to the route ${name}, which is not set up here.`,
    })
  }
  const names = new Set(['capture', delivery, ...directory.present.namesFor(caller.tenantId)])
  const text = `There is no route ${JSON.stringify(name)}; there are ${[...names].join(', ')}.`
  throw invalidRequest([{ path: '/route', message: text }])
}

/** A list of the inbox alone decides here already, so that the 202 says so, and nothing that is changed later lets the mail out. */
function usualWay(
  { present }: Pick<RouteDirectory, 'present'>,
  { tenantId }: Caller,
  { from, stream }: Pick<ValidatedMessage, 'from' | 'stream'>,
  delivery: RouteKind,
): AcceptedWay {
  const usual = { route: delivery, delivery }
  const list = delivery === 'capture' ? null : present.listFor(tenantId, from.address.domain, stream)
  const [only, ...others] = list ?? []
  if (only === undefined || others.length > 0) return usual
  const isCapture = only.route === 'capture' || present.find(tenantId, only.route)?.kind === 'capture'
  return isCapture ? { route: only.route, delivery: 'capture' } : usual
}
