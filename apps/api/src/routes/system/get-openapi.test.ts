import Fastify from 'fastify'
import { expect, test } from 'vitest'
import type { ApiDependencies } from '../../dependencies.ts'
import type { App } from '../../route.ts'
import { getOpenApi } from './get-openapi.ts'

test('a description that could not be made once is made when it is asked for again', async () => {
  const options = { publicUrl: 'no URL' }
  const app = Fastify()
  getOpenApi(app as unknown as App, { options } as unknown as ApiDependencies)
  expect((await app.inject('/openapi.json')).statusCode).toBe(500)
  options.publicUrl = 'https://mail.acme.test'
  const answer = await app.inject('/openapi.json')
  expect(answer.statusCode).toBe(200)
  expect(answer.json()).toMatchObject({ servers: [{ url: 'https://mail.acme.test' }] })
  await app.close()
})
