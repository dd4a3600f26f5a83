/** POST /source-ips: make a source address. */
import { addSource } from '@valija/flows'
import { problems, type RoutePlugin, ref } from '../../route.ts'
import { Source, SourceInput } from './schemas.ts'

export const createSource: RoutePlugin = (app, { database, wake, nextId, clock }) => {
  const desk = { database, wake, nextId, clock }
  app.post(
    '/source-ips',
    {
      config: { scope: 'operator' },
      schema: {
        operationId: 'createSource',
        summary: 'Make a source address',
        description:
          'Workers use the addresses that their machine has. Mail to exchangers leaves from the pool that its route names, else from the pool that is named like its stream (transactional, bulk), else from the pool default.',
        tags: ['Source addresses'],
        body: ref(SourceInput),
        response: { 201: ref(Source), ...problems(400, 409, 413, 415) },
      },
    },
    async (request, reply) => reply.code(201).send(await addSource(desk, request.body)),
  )
}
