/**
 * What API, worker and SMTP listeners do not load before somebody needs it: each of these takes from 5 to 100 ms of every start.
 * A package that is missed here is loaded by `import()` or `require` where it is first used, as its neighbours are.
 */
import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'

const listing = `
  import { registerHooks } from 'node:module'
  const loaded = []
  registerHooks({ load: (url, context, next) => (loaded.push(url), next(url, context)) })
  for (const app of ['api', 'worker', 'smtp']) await import('@valija/' + app)
  process.stdout.write(JSON.stringify([...loaded, ...process.moduleLoadList]))`

/** Each with what is loaded of it, or by it. */
const late: [what: string, pattern: RegExp][] = [
  ['the reader of YAML: what ships is JSON', /\/node_modules\/yaml\//],
  ['what composes mail', /\/nodemailer\/.*\/mail-composer\//],
  ['the client for relays with a login', /\/nodemailer\/.*\/smtp-connection\//],
  ['the client of Redis', /\/node_modules\/ioredis\//],
  ['what reads mailboxes', /\/imap-mailbox\.ts$|\/pop3-mailbox\.ts$/],
  ['what judges SPF, DKIM and DMARC', /\/node_modules\/mailauth\//],
  ['the language of templates', /\/node_modules\/(?:liquidjs|html-to-text)\//],
  ['the reference page', /\/node_modules\/@scalar\//],
  ['the metrics of a process that has none', /\/node_modules\/(?:prom-client|@opentelemetry)\//],
  ['Prisma', /\/node_modules\/@prisma\/|\/generated\/prisma\//],
  ['what makes the OpenAPI document', /\/node_modules\/@fastify\/swagger\//],
  ['what makes certificates', /\/node_modules\/selfsigned\//],
  ['the examination of `valija doctor`', /\/examine-installation\.ts$/],
  [
    'Node’s fetch, which `import` of node:http, or of a package that does so, brings',
    /internal\/deps\/undici/,
  ],
]

/** What a child that loads the apps has loaded. */
const loaded: string[] = JSON.parse(
  execFileSync(process.execPath, ['--input-type=module', '--eval', listing], {
    cwd: fileURLToPath(new URL('..', import.meta.url)),
    encoding: 'utf8',
    env: {
      NODE_COMPILE_CACHE: fileURLToPath(new URL('../../../node_modules/.cache/compile', import.meta.url)),
    },
  }),
)

it.each(late)('a start does not load %s', (_, pattern) => {
  const found = loaded.filter((what) => pattern.test(what))
  expect(found.slice(0, 3)).toEqual([])
})

it('what a start loads is seen here', () => {
  expect(loaded.some((url) => url.endsWith('/apps/worker/src/worker.ts'))).toBe(true)
  expect(loaded.some((url) => url.includes('/node_modules/fastify/'))).toBe(true)
})
