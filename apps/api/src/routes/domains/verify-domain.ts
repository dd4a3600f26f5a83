/** POST /domains/:id/verify: look for the domain's DNS records now. */
import { verifyDomain as verify } from '@valija/flows'
import { callerOf, idParams, noBody, problems, type RoutePlugin, ref } from '../../route.ts'
import { Domain } from './schemas.ts'

export const verifyDomain: RoutePlugin = (
  app,
  { database, wake, nextId, sealer, domainHosts, resolver, sendingHosts },
) => {
  const desk = { database, wake, nextId, sealer, domainHosts, resolver, sendingHosts }
  app.post(
    '/domains/:id/verify',
    {
      config: { scope: 'manage' },
      schema: {
        operationId: 'verifyDomain',
        summary: 'Look for the DNS records of a sender domain now',
        description:
          'The domain is verified once its ownership record is seen (event `domain.verified`), and its mails are signed by the keys whose records are seen. Each record says what was found and what to do. Where DNS gives no answer, what was known stays.',
        tags: ['Domains'],
        params: idParams,
        body: noBody,
        response: { 200: ref(Domain), ...problems(400, 404, 409, 413, 415) },
      },
    },
    (request) => verify(desk, callerOf(request), request.params.id),
  )
}
