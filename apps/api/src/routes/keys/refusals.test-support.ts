/** What every endpoint of management refuses in the same way, for its tests. */
import { type Scope, scopes } from '@valija/core'
import { expect } from 'vitest'
import { type Ask, adminKey, type TestApi } from '../../open-api.test-support.ts'

type Method = Parameters<TestApi['ask']>[0]

/** 401 without a key and with a wrong one; 403 with every scope but the one that is needed. */
export async function expectScope(
  api: TestApi,
  method: Method,
  url: string,
  scope: Scope | 'operator',
  body?: object,
) {
  const wrong: Ask[] = [{ key: null }, { key: 'vlj_wrong' }]
  for (const credentials of wrong) {
    const answer = await api.ask(method, url, { ...credentials, ...(body && { body }) })
    expect(answer.statusCode).toBe(401)
    expect(answer.json()).toMatchObject({ code: 'invalid_key', fix: expect.any(String) })
  }
  const key = await api.keyWith(...scopes.filter((other) => other !== scope))
  const answer = await api.ask(method, url, { key, ...(body && { body }) })
  expect(answer.statusCode).toBe(403)
  const needed = scope === 'operator' ? 'VALIJA_ADMIN_KEY' : scope
  expect(answer.json()).toMatchObject({
    code: 'insufficient_scope',
    detail: expect.stringContaining(needed),
  })
}

/** 404 in the same words for what belongs to another tenant, for what nobody has, and for what is no id at all. */
export async function expectHidden(
  api: TestApi,
  method: Method,
  url: (id: string) => string,
  foreignId: string,
  body?: object,
) {
  const unknownId = `${foreignId.slice(0, 4)}0192f0c1a2b37c4d8e5f60718293a4b5`
  const problems = []
  for (const id of [foreignId, unknownId, 'nonsense', 'msg_0192f0c1a2b37c4d8e5f60718293a4b5', '%00']) {
    const answer = await api.ask(method, url(id), body && { body })
    expect(answer.statusCode).toBe(404)
    const { request_id: _, ...problem } = answer.json()
    problems.push(problem)
  }
  for (const problem of problems) expect(problem).toEqual(problems[0])
}

/** 400 that names the place of the fault. */
export async function expectFault(
  api: TestApi,
  method: Method,
  url: string,
  body: object,
  path: string,
  more: Ask = {},
) {
  const answer = await api.ask(method, url, { ...more, body })
  expect(answer.json()).toMatchObject({ status: 400, code: 'invalid_request', errors: [{ path }] })
}

/** Credentials of the operator who acts for a tenant. */
export function asOperator(tenantId: string): Ask {
  return { key: adminKey, headers: { 'valija-tenant': `ten_${tenantId.replaceAll('-', '')}` } }
}
