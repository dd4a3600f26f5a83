/**
 * GET /readyz: whether a send would succeed now, with reasons. What is merely degraded (the queue's store away: the rows
 * wait in PostgreSQL) is told and stays 200, because taking such a process out of a load balancer would only lose mail.
 */

import { Type } from 'typebox'
import { named, type RoutePlugin, ref } from '../../route.ts'

export const Readiness = named(
  'Readiness',
  Type.Object(
    {
      status: Type.Enum(['ready', 'degraded', 'not_ready']),
      delivery: Type.Enum(['capture', 'smarthost', 'mx'], {
        description: 'Where this installation sends mail.',
      }),
      checks: Type.Array(Type.Object({ name: Type.String(), ok: Type.Boolean(), detail: Type.String() })),
    },
    {
      examples: [
        {
          status: 'ready',
          delivery: 'capture',
          checks: [{ name: 'database', ok: true, detail: 'Answers in 1 ms.' }],
        },
      ],
    },
  ),
)

export const getReadiness: RoutePlugin = (app, { readiness, options }) => {
  app.get(
    '/readyz',
    {
      config: { scope: null },
      schema: {
        operationId: 'getReadiness',
        summary: 'Whether a send would succeed now',
        tags: ['System'],
        response: {
          200: { description: 'It would.', content: { 'application/json': { schema: ref(Readiness) } } },
          503: { description: 'It would not.', content: { 'application/json': { schema: ref(Readiness) } } },
        },
      },
    },
    async (_request, reply) => {
      const { isReady, checks } = await readiness()
      const isWhole = checks.every((check) => check.isOk)
      const status = !isReady ? 'not_ready' : isWhole ? 'ready' : 'degraded'
      return reply
        .header('cache-control', 'no-store')
        .code(isReady ? 200 : 503)
        .send({
          status,
          delivery: options.delivery,
          checks: checks.map(({ name, isOk, detail }) => ({ name, ok: isOk, detail })),
        })
    },
  )
}
