/** GET /metrics: Prometheus. Open unless VALIJA_METRICS_TOKEN is set; says nothing about single tenants. */
import { createHash, timingSafeEqual } from 'node:crypto'
import { ProductError } from '@valija/core'
import { Type } from 'typebox'
import { problems, type RoutePlugin } from '../../route.ts'

export const getMetrics: RoutePlugin = (app, { metrics, options }) => {
  app.get(
    '/metrics',
    {
      config: { scope: null },
      schema: {
        operationId: 'getMetrics',
        summary: 'Metrics for Prometheus',
        description: 'With `Authorization: Bearer <VALIJA_METRICS_TOKEN>` where that is set.',
        tags: ['System'],
        response: {
          200: { description: 'The present values.', content: { 'text/plain': { schema: Type.String() } } },
          ...problems(401),
        },
      },
    },
    async (request, reply) => {
      if (options.metricsToken !== null) checkToken(request.headers.authorization, options.metricsToken)
      return reply.type(metrics.contentType).send((await metrics.text()) as never)
    },
  )
}

function checkToken(authorization: string | undefined, token: string): void {
  const given = /^bearer +(\S+)$/i.exec(authorization ?? '')?.[1] ?? ''
  if (timingSafeEqual(digest(given), digest(token))) return
  throw new ProductError('invalid_key', {
    detail: 'GET /metrics wants VALIJA_METRICS_TOKEN as its bearer token.',
  })
}

/** Of equal length, as timingSafeEqual needs. */
function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}
