/** PATCH /source-ips/:id: change a source address. */
import { changeSource } from '@valija/flows'
import { idParams, problems, type RoutePlugin, ref } from '../../route.ts'
import { Source, SourceChange } from './schemas.ts'

export const updateSource: RoutePlugin = (app, { database, wake, nextId, clock }) => {
  const desk = { database, wake, nextId, clock }
  app.patch(
    '/source-ips/:id',
    {
      config: { scope: 'operator' },
      schema: {
        operationId: 'updateSource',
        summary: 'Change a source address',
        description:
          'Fields that are absent stay as they are. A warm-up that is set where there was none begins at its first stage.',
        tags: ['Source addresses'],
        params: idParams,
        body: ref(SourceChange),
        response: { 200: ref(Source), ...problems(400, 404, 413, 415) },
      },
    },
    (request) => changeSource(desk, request.params.id, request.body),
  )
}
