/** GET /metrics, by status. */
import { afterEach, describe, expect, test } from 'vitest'
import { openTestApi, type TestApi } from '../../open-api.test-support.ts'

let api: TestApi | undefined

afterEach(() => api?.close())

describe('200', () => {
  test('is open while no token is set', async () => {
    api = await openTestApi()
    const answer = await api.ask('GET', '/metrics', { key: null })
    expect(answer.headers['content-type']).toBe('text/plain; version=0.0.4; charset=utf-8')
    expect(answer.body).toBe('valija_up 1\n')
  })
})

describe('401', () => {
  test('with a token set, nothing else opens it', async () => {
    api = await openTestApi({ metricsToken: 'scrape' })
    expect((await api.ask('GET', '/metrics', { key: null })).statusCode).toBe(401)
    expect((await api.ask('GET', '/metrics')).statusCode).toBe(401)
    expect((await api.ask('GET', '/metrics', { key: 'scrape' })).statusCode).toBe(200)
  })
})
