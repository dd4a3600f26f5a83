/**
 * The limits that hold for a caller, told with every answer: RateLimit-Policy and RateLimit (draft-ietf-httpapi-ratelimit-headers-10).
 *
 *     RateLimit-Policy: "key.requests_per_minute";q=100;w=60, "tenant.recipients_per_day";q=1000;qu="recipients";w=86400
 *     RateLimit: "key.requests_per_minute";r=99;t=12, "tenant.recipients_per_day";r=950;t=3600
 *
 * They tell what this request has found: the limits of recipients stand in answers to requests that send.
 */
import { type UsageState, usageLimits, windowS } from '@valija/core'
import type { App } from './route.ts'

export function registerRateLimitHeaders(app: App): void {
  app.addHook('onSend', (request, reply, _payload, done) => {
    const states = request.caller?.limits.seen ?? []
    if (states.length > 0) {
      reply.header('ratelimit-policy', states.map(policyOf).join(', '))
      reply.header('ratelimit', states.map(stateOf).join(', '))
    }
    done()
  })
}

function policyOf(state: UsageState): string {
  const { counts, window } = usageLimits[state.name]
  const unit = counts === 'requests' ? '' : ';qu="recipients"'
  return `${nameOf(state)};q=${state.value}${unit};w=${windowS[window]}`
}

function stateOf(state: UsageState): string {
  return `${nameOf(state)};r=${state.left};t=${Math.max(0, Math.ceil(state.resetInMs / 1_000))}`
}

function nameOf({ of, name }: UsageState): string {
  return `"${of}.${name}"`
}
