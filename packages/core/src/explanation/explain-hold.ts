/** What holds a mail back that is not due, by the mark that the worker left on its row (packages/flows/src/begin-delivery.ts). */
import type { CauseKind, Finding } from './cause-kinds.ts'
import { siteRemedy } from './explain-site.ts'
import type { DeliveryFacts, ExplanationFacts, RouteFacts } from './facts.ts'
import { answerOrFailure, atTime, quoted, withCapital } from './words.ts'

export interface Hold extends Finding {
  /** The site holds it, so what its last attempt met there is the same story. */
  isOfSite: boolean
}

/** @returns null when nothing is marked, or nothing that this version knows */
export function explainHold(facts: ExplanationFacts, delivery: DeliveryFacts): Hold | null {
  const mark = delivery.hold
  if (mark === null) return null
  const colon = mark.indexOf(':')
  const [kind, name] = [mark.slice(0, colon), mark.slice(colon + 1)]
  return explainers[kind]?.(facts, name, atTime(delivery.dueAtMs, facts.nowMs)) ?? null
}

type ExplainOne = (facts: ExplanationFacts, name: string, until: string) => Hold

/** By what stands before the colon. */
const explainers: Readonly<Record<string, ExplainOne>> = {
  site: explainSiteHold,
  held_at: explainSenderHold,
  route_paused: (facts, name, until) => explainRoutePause(routeOf(facts, name), name, until),
  route_down: (facts, name, until) => explainRouteDown(routeOf(facts, name), name, until),
  no_route: (_, name, until) =>
    hold(
      'no_route',
      `No running worker knows the route ${name}: it was removed, or the workers run with another VALIJA_DELIVERY. Looked at again at ${until}.`,
      `Have the operator bring the route ${name} back (POST /routes, or VALIJA_DELIVERY of the workers); or send the mail again by another route.`,
    ),
  warm_up: (_, name, until) =>
    hold(
      'warm_up',
      `The source address ${name} is warming up and has sent this provider what it may for now; it goes on at ${until}.`,
      'Nothing has to be done: it is sent when the next hour or day of the warm-up begins. The operator can add source addresses (POST /source-ips).',
    ),
  no_source: (_, name, until) =>
    hold(
      'no_source',
      `No running worker can send from an address of the pool ${name}. Looked at again at ${until}.`,
      `Only the operator can mend this: run a worker on the machine that has an address of the pool ${name}, or enable one (PATCH /source-ips/:id).`,
    ),
  restored: (_, __, until) =>
    hold(
      'restored',
      `The database was set back to an earlier time, and this mail may have been delivered after that. It is held until the operator decides, and fails when its time is over, at ${until}.`,
      'Only the operator can let it go (npm run valija -- restore release: it may arrive twice) or have it ended (restore end).',
    ),
}

function hold(kind: CauseKind, detail: string, remedy: string, isOfSite = false): Hold {
  return { because: [{ kind, detail }], remedy, isOfSite }
}

function explainSiteHold({ site, lastAttempt, recipient }: ExplanationFacts, _: string, until: string): Hold {
  const name = site?.name ?? lastAttempt?.host ?? `the receiving site of ${recipient.domain}`
  const reply = site?.reply ?? null
  const why =
    reply === null
      ? 'It takes no connections, or refuses us for now.'
      : `It last answered: ${answerOrFailure(reply)}.`
  const detail = `All mail to ${name} waits until ${until}. ${why} This waiting uses up none of the mail’s attempts.`
  return hold('site_paused', detail, siteRemedy(site), true)
}

/** @param mark the site's name, a blank, and whose mail waits: a sender domain's, or all of the tenant's */
function explainSenderHold({ senderHolds, message }: ExplanationFacts, mark: string, until: string): Hold {
  const blank = mark.lastIndexOf(' ')
  const [name, part] = [mark.slice(0, blank), mark.slice(blank + 1)]
  const whose = part === 'tenant' ? 'All of your mail' : `Mail from ${part}`
  const reply = senderHolds.get(name) ?? null
  const words = reply === null ? '' : `: it answered ${quoted(reply)}`
  return hold(
    'sender_held',
    `${whose} to ${name} waits until ${until}${words}.`,
    `Nothing has to be done now: it goes on by itself. If it comes back, look at what ${message.fromDomain} sends there, and how much at once.`,
  )
}

function routeOf({ route }: ExplanationFacts, name: string): RouteFacts | null {
  return route?.name === name ? route : null
}

/** What the relay of an operator's route says is not for its tenants. */
function saidBy(route: RouteFacts | null): string {
  return route?.reply && !route.isOperators ? `: ${quoted(route.reply)}` : ''
}

function explainRoutePause(route: RouteFacts | null, name: string, until: string): Hold {
  const said = saidBy(route)
  if (route?.pausedReason === 'login_refused' || route?.condition === 'login_refused') {
    return hold(
      'login_refused',
      `The relay of the route ${name} refused our login${said}. The route is paused, and its mail is kept.`,
      passwordRemedy(route),
    )
  }
  if (route !== null && !route.isPaused) {
    return hold(
      'route_paused',
      `The route ${name} could not be used when this mail last came up; it is not paused now. Looked at again at ${until}.`,
      'Nothing has to be done: it goes then. If it is held back again, ask the operator to look into the workers’ log for why the route cannot be used.',
    )
  }
  const who =
    route?.isOperators === false
      ? `Resume it (POST /routes/${route.id}/resume)`
      : `Have the operator resume it (POST /routes/${route?.id ?? ':id'}/resume)`
  return hold(
    'route_paused',
    `The route ${name} is paused${said}. Looked at again at ${until}.`,
    `${who}, or send the mail again by another route.`,
  )
}

function passwordRemedy(route: RouteFacts): string {
  if (route.id === null)
    return 'Only the operator can mend this: put user and password of VALIJA_SMARTHOST_URL right and start the workers again.'
  const act = `put user and password of the route ${route.name} right (PATCH /routes/${route.id}) and resume it (POST /routes/${route.id}/resume)`
  return route.isOperators ? `Only the operator can mend this: ${act}.` : `${withCapital(act)}.`
}

function explainRouteDown(route: RouteFacts | null, name: string, until: string): Hold {
  const said = saidBy(route)
  const remedy =
    route?.isOperators === false
      ? `The relay of your route ${name} has to be up: start it, or correct its host and port (PATCH /routes/${route.id}). One mail at a time tries it.`
      : `Only the operator can mend this: the relay of the route ${name} has to be up. One mail at a time tries it, and the rest follows by itself.`
  return hold(
    'route_down',
    `The relay of the route ${name} takes no connections${said}. It is tried again at ${until}.`,
    remedy,
  )
}
