/**
 * The API for tests of endpoints: real parts over a database of the test file's own, asked through `inject`, so no port is
 * opened. Nobody works on what is accepted: tests write what a worker would have.
 */

import { createMailLog, noLimits, parseId, type Scope, scopes, type Uuid } from '@valija/core'
import { createNetworkGuard, createOpenMailbox, createResolver, openWebHttp } from '@valija/courier'
import {
  addKey,
  addTenant,
  createAdmission,
  createAllowances,
  createAuthenticator,
  createErasureDesk,
  createMailSigner,
  createMessageDesk,
  createQueueLimits,
  createReportFields,
  createSendDesk,
  createSenderDomains,
  type Foundation,
  noHosts,
  openFoundation,
  openRouteDirectory,
  openTemplates,
  openUnsubscribing,
} from '@valija/flows'
import type { FastifyInstance, LightMyRequestResponse } from 'fastify'
import { createDatabase } from '../../../tests/support/database.ts'
import { untilShown } from '../../../tests/support/shown-events.ts'
import { buildApp } from './app.ts'
import type { ApiDependencies, ApiOptions } from './dependencies.ts'
import { createAnswerCheck } from './documented-answers.test-support.ts'
import { openPreview } from './open-preview.ts'

export const adminKey = 'the-operators-key-of-this-test'

export interface TestTenant {
  id: Uuid
  /** With all scopes. */
  key: string
}

export interface TestApi {
  app: FastifyInstance
  foundation: Foundation
  /** The default tenant: may send from any domain. */
  tenant: TestTenant
  /** Another one. */
  stranger: TestTenant
  /** Asks as the default tenant, or with another key; an object becomes JSON. Throws when the answer is not as documented. */
  ask(method: Method, url: string, ask?: Ask): Promise<LightMyRequestResponse>
  /** What `GET /events` answers once it shows all that has been committed; `query` begins with its question mark. */
  events(query?: string, key?: string): Promise<EventsPage>
  /** A key of the default tenant with only these scopes. */
  keyWith(...some: Scope[]): Promise<string>
  /** Sends a message and gives back the 202. */
  send(fields?: object): Promise<{ id: string; recipients: { id: string }[] }>
  close(): Promise<void>
}

export interface EventsPage {
  data: { id: string; type: string; timestamp: string; data: Record<string, unknown> }[]
  next_cursor: string
}

type Method = 'GET' | 'POST' | 'PATCH' | 'DELETE' | 'PUT' | 'HEAD' | 'OPTIONS'

export interface Ask {
  /** Null: no Authorization header. */
  key?: string | null
  body?: object | string | Buffer
  headers?: Record<string, string>
}

/** A DNS server that is not there: tests that need one hand in a resolver of their own. */
const nowhere = '127.0.0.1:9'

export const message = {
  from: 'Acme <hello@acme.test>',
  to: ['ann@example.test'],
  subject: 'Your receipt',
  text: 'Thank you!\n',
}

export async function openTestApi(
  options: Partial<ApiOptions> = {},
  replaced: Partial<ApiDependencies> = {},
  wrapped: (made: ApiDependencies) => Partial<ApiDependencies> = () => ({}),
): Promise<TestApi> {
  const target = await createDatabase()
  const foundation = await openFoundation({
    databaseUrl: target.url,
    redisUrl: null,
    secretKeys: ['a-secret-of-this-test-long-enough'],
    onError: () => undefined,
  })
  const { dependencies, close: closeDesks } = await assemble(foundation, options, replaced)
  const app = await buildApp({ ...dependencies, ...wrapped(dependencies) })
  const tenant = await makeTenant(foundation, 'default', true)
  const stranger = await makeTenant(foundation, 'stranger', false)
  const checkAnswer = await createAnswerCheck()
  const ask: TestApi['ask'] = async (method, url, { key = tenant.key, body, headers } = {}) => {
    const answer = await app.inject({
      method,
      url,
      headers: { ...(key !== null && { authorization: `Bearer ${key}` }), ...headers },
      ...(body !== undefined && { payload: body }),
    })
    checkAnswer(method, url, answer)
    return answer
  }
  return {
    app,
    foundation,
    tenant,
    stranger,
    ask,
    events: async (query = '', key = tenant.key) => {
      await untilShown(async (sql) => (await foundation.database.engine.query(sql)).rows)
      const answer = await ask('GET', `/events${query}`, { key })
      if (answer.statusCode !== 200) throw new Error(answer.body)
      return answer.json()
    },
    keyWith: (...some) => makeKey(foundation, tenant.id, some),
    send: async (fields = {}) => {
      const answer = await ask('POST', '/send', { body: { ...message, ...fields } })
      if (answer.statusCode !== 202) throw new Error(`not accepted: ${answer.body}`)
      return answer.json()
    },
    close: async () => {
      await app.close()
      await closeDesks()
      await foundation.close()
      await target.drop()
    },
  }
}

const ignore = () => undefined
const unlimited = { perTenant: 0, total: 0 }
const messageTtlMs = { transactional: 86_400_000, bulk: 3 * 86_400_000 }

const usualOptions: ApiOptions = {
  maxMessageSizeBytes: 4 * 1024 * 1024,
  delivery: 'capture',
  isAllInOne: true,
  publicUrl: null,
  trustProxy: [],
  corsOrigins: [],
  metricsToken: null,
  maxRequestsPerAddress: 0,
  retentionDays: 90,
  contentDays: 30,
  allowNetworks: [],
}

async function assemble(
  foundation: Foundation,
  options: Partial<ApiOptions>,
  replaced: Partial<ApiDependencies>,
) {
  const { database, clock, nextId, wake, queue, sealer } = foundation
  const allOptions: ApiOptions = { ...usualOptions, ...options }
  const { delivery, isAllInOne, maxMessageSizeBytes, allowNetworks } = allOptions
  const publicUrl = allOptions.publicUrl ?? 'https://mail.valija.test'
  const http = openWebHttp({ allowNetworks, dnsServers: [] })
  const authenticator = createAuthenticator({ database, wake, clock, adminKey })
  const senderDomains = createSenderDomains({ database, wake, delivery, isAllInOne })
  const signer = createMailSigner({ database, sealer, wake })
  const resolver = createResolver({ servers: [nowhere], cache: { entries: 0, bytes: 0 } })
  const routes = await openRouteDirectory({ database, wake, onError: ignore })
  const mailLog = createMailLog(ignore)
  const allowances = createAllowances({ database, wake, onError: ignore })
  const templates = openTemplates(foundation, maxMessageSizeBytes)
  const sendDesk = createSendDesk({
    database,
    clock,
    nextId,
    sealer,
    senderDomains,
    routes,
    wake,
    admission: createAdmission({ database, queue, wake, onError: () => undefined }),
    mailLog,
    queueLimits: createQueueLimits({ database, limits: unlimited, onError: () => undefined }),
    allowances,
    templates: templates.templateDesk,
    options: { maxMessageSizeBytes, delivery, messageTtlMs, publicUrl },
  })
  const desks = { foundation, sendDesk, routes, signer }
  const preview = openPreview({ resolver, ...unknownOutside, ...replaced, ...desks })
  const dependencies: ApiDependencies = {
    ...{ database, clock, nextId, wake, queue, sealer, signer },
    ...openUnsubscribing(foundation),
    reportFields: createReportFields({ sealer, bounceDomain: null }),
    resolver,
    ...unknownOutside,
    http,
    openMailbox: createOpenMailbox({ guard: createNetworkGuard(allowNetworks) }),
    sendDesk,
    messageDesk: createMessageDesk({ database, clock, nextId, wake, mailLog }),
    erasureDesk: createErasureDesk({ database, clock, nextId, wake, mailLog, sealer }),
    ...preview,
    ...templates,
    authenticate: authenticator.authenticate,
    allowances,
    readiness: async () => readyAnswer,
    metrics: { contentType: 'text/plain; version=0.0.4; charset=utf-8', text: async () => 'valija_up 1\n' },
    log: silentLog,
    options: allOptions,
    ...replaced,
  }
  const close = async () => {
    await sendDesk.drain()
    authenticator.close()
    senderDomains.close()
    signer.close()
    preview.close()
    await templates.renderer.close()
    resolver.close()
    await http.close()
    await routes.close()
  }
  return { dependencies, close }
}

/** Nothing of the outside is known: records name no host of this installation. */
const unknownOutside = { domainHosts: noHosts, sendingHosts: async () => [] }
const readyAnswer = { isReady: true, checks: [{ name: 'database', isOk: true, detail: 'Answers.' }] }

async function makeTenant(foundation: Foundation, name: string, isDefault: boolean): Promise<TestTenant> {
  const { id, key } = await addTenant(foundation, { name }, isDefault)
  const uuid = parseId('tenant', id)
  if (uuid === null) throw new Error('not an id of a tenant')
  return { id: uuid, key }
}

async function makeKey(foundation: Foundation, tenantId: Uuid, some: Scope[]): Promise<string> {
  const everything = {
    tenantId,
    keyId: null,
    scopes: new Set(scopes),
    domains: [],
    recipients: [],
    route: null,
  }
  const maker = {
    ...everything,
    isOperator: true,
    isDefaultTenant: true,
    queuedLimit: null,
    limits: noLimits(),
  }
  return (await addKey(foundation, maker, { name: some.join(' '), scopes: some })).key
}

export const silentLog: ApiDependencies['log'] = {
  level: 'silent',
  fatal: ignore,
  error: ignore,
  warn: ignore,
  info: ignore,
  debug: ignore,
  trace: ignore,
  silent: ignore,
  child: () => silentLog,
}
