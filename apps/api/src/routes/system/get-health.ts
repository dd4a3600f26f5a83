/** GET /healthz: the process runs and answers. Asks nothing of anybody, so that a database's trouble restarts no API. */

import { Type } from 'typebox'
import { type RoutePlugin, strictObject } from '../../route.ts'

export const getHealth: RoutePlugin = (app) => {
  app.get(
    '/healthz',
    {
      config: { scope: null },
      schema: {
        operationId: 'getHealth',
        summary: 'Whether the process lives',
        tags: ['System'],
        response: { 200: strictObject({ status: Type.Literal('ok') }) },
      },
    },
    async () => ({ status: 'ok' as const }),
  )
}
