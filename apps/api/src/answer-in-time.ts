/**
 * An answer in bounded time, however slow PostgreSQL is: each of a request's statements has a time-out, but there can be ten.
 * Beyond its time a request is answered 503 `database_unavailable`; what was begun may still be committed, so the answer is
 * as that of a connection lost during COMMIT: unknown, and an Idempotency-Key finds out. POST /send and /send/batch know their time and
 * begin no COMMIT near the end of it.
 *
 * The time counts while we work: a slow client's body is no matter of ours (app.ts has its limits).
 */
import { ProductError } from '@valija/core'
import { inTime } from '@valija/flows'
import type { FastifyReply, FastifyRequest, RouteHandlerMethod, RouteOptions } from 'fastify'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** How long the route may take, in milliseconds, where it is not the usual time. */
    answerWithinMs?: number
  }
  interface FastifyRequest {
    /** What finding out who asks took of the request's time. */
    lookUpMs: number
    /** By `performance.now()`: without an answer until then it is answered 503. Set when its handler begins. */
    answerByMs: number
  }
}

/**
 * Promised are 10 s (docs/operations.md), shorter than the usual time-outs of clients and proxies (30 s, 60 s), so that it is we who say
 * what is the matter. A second of them is for the way to us and back, and for a loop that has others to serve.
 */
export const answerMs = 9_000
/** A batch is up to 10,000 rows in one commit: a second or two on two cores, several times that on a database that is busy. */
export const batchAnswerMs = 20_000
/** Writes of the management may ask others besides PostgreSQL: the DNS, a webhook's endpoint. */
const manageMs = 25_000
/** Finding out who asks takes two reads at most. It may use up this much of the request's time. */
const lookUpLimitMs = 6_000
/** For each octet of a body: 40 MB on a busy disk are given 40 s more. */
const perByteMs = 1 / 1024

/** Lets a route's handler take its time and no longer. For the app's `onRoute` hook. */
export function answerInTime(route: RouteOptions): void {
  const { handler, method, config } = route
  const limitMs = config?.answerWithinMs ?? (method === 'GET' ? answerMs : manageMs)
  const timed = function (this: unknown, request: FastifyRequest, reply: FastifyReply) {
    const ownMs = limitMs - request.lookUpMs + (request.bodyBytes?.length ?? 0) * perByteMs
    request.answerByMs = performance.now() + ownMs
    const answer = handler.call(this as never, request, reply) as unknown
    return answer instanceof Promise ? inTime(ownMs, answer, late) : answer
  }
  route.handler = timed as RouteHandlerMethod
}

/** Settles as the look-up of a request's caller does, if that is in time, and puts it down to the request. */
export async function lookUpInTime<T>(request: FastifyRequest, lookUp: Promise<T>): Promise<T> {
  const startedMs = performance.now()
  const found = await inTime(lookUpLimitMs, lookUp, late)
  request.lookUpMs = performance.now() - startedMs
  return found
}

const late = () =>
  new ProductError('database_unavailable', {
    detail: 'The database did not answer in time; whether the request was carried out is not known.',
    retryAfterS: 5,
  })
