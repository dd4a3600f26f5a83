/**
 * `valija init --domain <domain>`: from an empty database to a tenant that may send, step by step. Each step looks first whether it was done before, and what
 * it does is durable when its line is printed, so a run can be ended at any moment and repeated. At the database, since there is no API yet.
 */
import {
  ensureDomain,
  ensureTenant,
  type Foundation,
  isPublicSuffix,
  openDomainDns,
  openFoundation,
  openRouteDirectory,
} from '@valija/flows'
import { parseAddress, parseDomain } from '@valija/mail'
import { UsageError } from './command.ts'
import { examine } from './doctor.ts'
import { need } from './flag-values.ts'
import { type Outcome, openReport, type Report } from './init-report.ts'
import { ensureDelivery, ensureSchema, ensureSecrets, openSettings, type Settings } from './init-settings.ts'
import { type ActingTenant, actFor, sendTestMail } from './init-test-mail.ts'

export interface InitFlags {
  domain: string | undefined
  tenant: string | undefined
  delivery: string | undefined
  'test-to': string | undefined
  json: boolean
}

interface Wishes {
  /** In A-labels. */
  domain: string
  tenant: string
  delivery: 'mx' | 'smarthost' | null
  testTo: string | null
}

export async function init(flags: InitFlags): Promise<void> {
  const wishes = readWishes(flags)
  const settings = openSettings()
  const report = openReport(flags.json)
  const rest = [
    'tenant',
    'domain',
    'doctor',
    ...(wishes.testTo === null ? [] : ['test_mail' as const]),
  ] as const
  if (!(await report.step('secrets', () => ensureSecrets(settings)))) {
    for (const name of ['delivery', 'database', ...rest] as const) report.skip(name, 'secrets')
  } else {
    await report.step('delivery', () => ensureDelivery(settings, wishes.delivery))
    if (await report.step('database', () => ensureSchema(settings))) await setUp(report, settings, wishes)
    else for (const name of rest) report.skip(name, 'database')
  }
  if (!report.end()) process.exitCode = 1
}

/** @throws {UsageError} before anything is done */
function readWishes({ domain: given, tenant, delivery, 'test-to': testTo }: InitFlags): Wishes {
  const domain = parseDomain(need('domain', given).trim())
  if (!domain.ok) throw new UsageError(`--domain: ${domain.message}`)
  if (isPublicSuffix(domain.value))
    throw new UsageError(
      `--domain: ${domain.value} is a public suffix, below which names belong to many. Give the domain that is yours.`,
    )
  if (delivery !== undefined && delivery !== 'mx' && delivery !== 'smarthost')
    throw new UsageError(`--delivery takes mx or smarthost, not "${delivery}".`)
  const address = testTo === undefined ? null : parseAddress(testTo)
  if (address?.ok === false) throw new UsageError(`--test-to: ${address.message}`)
  return {
    domain: domain.value,
    tenant: tenant?.trim() || domain.value,
    delivery: delivery ?? null,
    testTo: testTo ?? null,
  }
}

/** The steps that need the database. */
async function setUp(report: Report, settings: Settings, wishes: Wishes): Promise<void> {
  const opened: { foundation?: Foundation; tenant?: ActingTenant; isSendable?: boolean } = {}
  try {
    const hasTenant = await report.step('tenant', async () => {
      opened.foundation = await openAtDatabase(settings)
      const { tenant, key } = await ensureTenant(opened.foundation, wishes.tenant)
      opened.tenant = { foundation: opened.foundation, id: tenant.id }
      return tellTenant(tenant, key)
    })
    const { tenant } = opened
    if (!hasTenant || tenant === undefined) report.skip('domain', 'tenant')
    else
      await report.step('domain', async () => {
        const outcome = await openDomain(tenant, settings, wishes.domain)
        opened.isSendable = outcome.found.domain.status === 'verified'
        return outcome
      })
    await report.step('doctor', () => lookAtAll(settings))
    const { testTo } = wishes
    if (testTo === null) return
    if (tenant === undefined || !opened.isSendable) report.skip('test_mail', tenant ? 'domain' : 'tenant')
    else await report.step('test_mail', () => sendTestMail(tenant, settings.config(), wishes.domain, testTo))
  } finally {
    await opened.foundation?.close()
  }
}

function openAtDatabase(settings: Settings): Promise<Foundation> {
  const { databaseUrl, redisUrl, secretKeys } = settings.config()
  const onError = (error: Error) => process.stderr.write(`valija: ${error.message}\n`)
  return openFoundation({ databaseUrl: databaseUrl ?? '', redisUrl, secretKeys, onError })
}

function tellTenant({ id, name }: { id: string; name: string }, key: string | null) {
  const found = { tenant: { id, name, key } }
  if (key !== null)
    return { status: 'done', detail: `${id}  ${name}, with a first key that has all scopes`, found } as const
  const scopes = ['send', 'read', 'read:content', 'manage'].map((scope) => `--scope ${scope}`).join(' ')
  const fix = `Its first key was shown once. Another, once an API runs: npm run valija -- key create --url <url> --tenant ${id} --name <name> ${scopes}`
  return { status: 'done_before', detail: `${id}  ${name}`, fix, found } as const
}

async function openDomain({ foundation, id }: ActingTenant, settings: Settings, name: string) {
  const config = settings.config()
  const caller = await actFor({ foundation, id }, config)
  const routes = await openRouteDirectory({ ...foundation, onError: () => undefined })
  const dns = openDomainDns(config, routes, foundation.sealer)
  try {
    const { domain, before } = await ensureDomain({ ...foundation, ...dns }, caller, name)
    return { ...tellDomain(domain, before), found: { domain } }
  } finally {
    dns.resolver.close()
    await routes.close()
  }
}

type DomainView = Awaited<ReturnType<typeof ensureDomain>>['domain']

function tellDomain(
  { name, status, vouched, records }: DomainView,
  before: DomainView['status'] | null,
): Outcome {
  if (before === null)
    return {
      status: 'to_do',
      detail: `${name} was added; its DNS records are below`,
      fix: 'Publish them, then run this again: it looks for them.',
    }
  if (vouched) return { status: 'done_before', detail: `${name}, which the operator vouches for` }
  const isVerified = status === 'verified'
  const open = records.filter((record) => record.status !== 'ok')
  const needed = open.filter(({ required }) => required)
  const detail = `${name} is ${isVerified ? 'verified' : 'not verified'}; of its ${records.length} records ${records.length - open.length} are right`
  const fix = 'What was seen of each is below. Publish or mend them, then run this again.'
  if (needed.length > 0 || !isVerified) return { status: 'to_do', detail, fix }
  return { status: before === 'verified' ? 'done_before' : 'done', detail, ...(open.length > 0 && { fix }) }
}

async function lookAtAll(settings: Settings) {
  const checks = await examine(settings.env(), [])
  const count = (wanted: string) => checks.filter(({ status }) => status === wanted).length
  const detail = `${count('failed')} failed, ${count('warning')} to look at, ${count('ok')} ok`
  const found = { checks }
  if (count('failed') === 0) return { status: 'done', detail, found } as const
  return { status: 'failed', detail, fix: 'Each is below with how to mend it.', found } as const
}
