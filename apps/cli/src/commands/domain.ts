/** `valija domain …`: the domains that a tenant sends from, and what DNS says of them. */
import { domainToASCII } from 'node:url'
import type { Domain, DomainChange } from '@valija/client'
import { type ApiFlags, apiFlags, openApi } from '../api-client.ts'
import { type Command, command, UsageError } from '../command.ts'
import { findByName } from '../find-by-name.ts'
import { changed, given, readList, readYesNo } from '../flag-values.ts'
import { inCommands } from '../in-commands.ts'
import { jsonFlag, listFlags, note, pageQuery, print, printJson, printList, readPages } from '../output.ts'
import { printDomain } from '../show-domain.ts'
import { type DomainReports, printDomainReports } from '../show-domain-reports.ts'

const flags = { ...apiFlags, ...jsonFlag }
const changeFlags = {
  algorithm: { type: 'string', multiple: true, value: '<rsa|ed25519>', help: 'how its mails are signed' },
  'return-path-host': {
    type: 'string',
    value: '<host>',
    help: 'the name below it that bounces come back to',
  },
  vouched: { type: 'string', value: '<yes|no>', help: 'the operator stands in for it; with --tenant' },
  dkim: { type: 'string', value: '<yes|no>', help: 'of a vouched one: signed without looking at DNS' },
} as const

export const domainCommands: readonly Command[] = [
  command({
    name: 'domain add',
    args: '<domain>',
    summary: 'adds a domain and shows the DNS records to publish',
    flags: {
      vouched: { type: 'boolean', help: 'the operator stands in for it, without DNS; with --tenant' },
      dkim: { type: 'boolean', help: 'of a vouched one: signed without looking at DNS' },
      algorithm: {
        type: 'string',
        multiple: true,
        value: '<rsa|ed25519>',
        help: 'how its mails are signed; both',
      },
      'return-path-host': {
        type: 'string',
        value: '<host>',
        help: 'the name below it that bounces come back to; bounce',
      },
      ...flags,
    },
    example: 'domain add acme.example',
    run: async ({ args: [name = ''], flags }) => {
      const { vouched, dkim, algorithm, 'return-path-host': host, tenant } = flags
      if (vouched && tenant === undefined)
        throw new UsageError('--vouched is the operator’s: say for which --tenant.')
      const body = {
        name,
        ...given({ dkim_algorithms: algorithm as Domain['dkim_algorithms'], return_path_host: host }),
        ...(vouched && { vouched, ...(dkim && { dkim }) }),
      }
      showDomain(await (await openApi(flags)).request('POST /domains', { body }), flags)
    },
  }),
  command({
    name: 'domain list',
    summary: 'all domains, newest first',
    flags: { ...apiFlags, ...listFlags },
    example: 'domain list',
    run: async ({ flags }) => {
      const api = await openApi(flags)
      await printList(api.list('GET /domains', { query: pageQuery(flags) }), flags, {
        id: ({ id }) => id,
        name: ({ name }) => name,
        status: ({ status, vouched }) => (vouched ? 'vouched' : status),
        'how it stands': ({ summary, id, name }) => inCommands(summary).replaceAll(id, name),
      })
    },
  }),
  command({
    name: 'domain show',
    args: '<domain>',
    summary: 'its records, and for each what DNS said and how to mend it; by name or id',
    flags,
    example: 'domain show acme.example',
    run: async ({ args, flags }) => {
      const { api, path } = await openDomain(flags, args)
      showDomain(await api.request('GET /domains/{id}', { path }), flags)
    },
  }),
  command({
    name: 'domain verify',
    args: '<domain>',
    summary: 'looks for its records now; exit code 1 while it is not verified',
    flags,
    example: 'domain verify acme.example',
    run: async ({ args, flags }) => {
      const { api, path } = await openDomain(flags, args)
      const domain = await api.request('POST /domains/{id}/verify', { path })
      showDomain(domain, flags)
      if (domain.status !== 'verified') process.exitCode = 1
    },
  }),
  command({
    name: 'domain zone',
    args: '<domain>',
    summary: 'its records as lines of a zone file',
    flags: apiFlags,
    example: 'domain zone acme.example >> acme.example.zone',
    run: async ({ args, flags }) => {
      const { api, path } = await openDomain(flags, args)
      print(await api.request('GET /domains/{id}/zone', { path }))
    },
  }),
  command({
    name: 'domain rotate-dkim',
    args: '<domain>',
    summary: 'makes new DKIM keys, which sign once their records are seen',
    flags,
    example: 'domain rotate-dkim acme.example',
    run: async ({ args, flags }) => {
      const { api, path } = await openDomain(flags, args)
      showDomain(await api.request('POST /domains/{id}/rotate-dkim', { path, body: null }), flags)
    },
  }),
  command({
    name: 'domain update',
    args: '<domain>',
    summary: 'changes how its mails are signed, where bounces come back to, who stands in for it',
    flags: { ...changeFlags, ...flags },
    example: 'domain update acme.example --algorithm rsa',
    run: async ({ args, flags }) => {
      const body = changed(
        {
          dkim_algorithms: readList(flags.algorithm) as DomainChange['dkim_algorithms'],
          return_path_host: flags['return-path-host'],
          vouched: readYesNo('vouched', flags.vouched),
          dkim: readYesNo('dkim', flags.dkim),
        },
        Object.keys(changeFlags),
      )
      const { api, path } = await openDomain(flags, args)
      showDomain(await api.request('PATCH /domains/{id}', { path, body }), flags)
    },
  }),
  command({
    name: 'domain reports',
    args: '<domain>',
    summary: 'what others report of mails in its name (DMARC) and of TLS with its hosts, by day',
    details: 'And over all days: what failed, what that means and what to do.',
    flags: {
      after: { type: 'string', value: '<time>', help: 'from its day on' },
      before: { type: 'string', value: '<time>', help: 'days that begin before it' },
      ...apiFlags,
      ...listFlags,
    },
    example: 'domain reports acme.example --after 2026-11-01T00:00:00Z',
    run: async ({ args, flags }) => {
      const { api, path } = await openDomain(flags, args)
      const query = { ...given({ after: flags.after, before: flags.before }), ...pageQuery(flags) }
      const listing = api.list('GET /domains/{id}/reports', { path, query })
      // Each page has the totals of all.
      const reports = (await readPages(listing, flags)) as DomainReports
      if (flags.json) printJson(reports)
      else printDomainReports(reports)
    },
  }),
  command({
    name: 'domain delete',
    args: '<domain>',
    summary: 'nothing is sent from it any more',
    flags: apiFlags,
    example: 'domain delete acme.example',
    run: async ({ args, flags }) => {
      const { api, path } = await openDomain(flags, args)
      await api.request('DELETE /domains/{id}', { path })
      print(`deleted  ${path.id}\n`)
    },
  }),
]

async function openDomain(flags: ApiFlags, [domain = '']: readonly string[]) {
  const api = await openApi(flags)
  const all = () => api.list('GET /domains', { query: { limit: 100 } })
  const id = await findByName('domain', domain, all, ({ name }) => name, domainToASCII(domain))
  return { api, path: { id } }
}

function showDomain(domain: Domain, { json }: { json: boolean }): void {
  if (json) return void printJson(domain)
  printDomain(domain)
  if (domain.status !== 'verified' && !domain.vouched)
    note(`\nOnce they are published: domain verify ${domain.name}`)
}
