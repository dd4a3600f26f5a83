/**
 * What API, worker and SMTP listeners do not load before somebody needs it: each of these takes from 5 to 100 ms of every start.
 * A package that is missed here is loaded by `import()` or `require` where it is first used, as its neighbours are. And what they have to
 * have loaded by then: an upgrade in place may have replaced the files when the first mail comes.
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
  ['the client of Redis', /\/node_modules\/ioredis\//],
  ['what reads mailboxes', /\/imap-mailbox\.ts$|\/pop3-mailbox\.ts$/],
  ['what judges SPF, DKIM and DMARC', /\/node_modules\/mailauth\//],
  ['the language of templates', /\/node_modules\/(?:liquidjs|html-to-text)\//],
  ['the reference page', /\/node_modules\/@scalar\//],
  ['the metrics of a process that has none', /\/node_modules\/(?:prom-client|@opentelemetry)\//],
  ['what makes the OpenAPI document', /\/node_modules\/@fastify\/swagger\//],
  ['what makes certificates', /\/node_modules\/selfsigned\//],
  ['the examination of `valija doctor`', /\/examine-installation\.ts$/],
  [
    'Node’s fetch, which `import` of node:http, or of a package that does so, brings',
    /internal\/deps\/undici/,
  ],
]

/** What a child prints, as JSON. */
function resultOf(program: string): string[] {
  const printed = execFileSync(process.execPath, ['--input-type=module', '--eval', program], {
    cwd: fileURLToPath(new URL('..', import.meta.url)),
    encoding: 'utf8',
    env: {
      NODE_COMPILE_CACHE: fileURLToPath(new URL('../../../node_modules/.cache/compile', import.meta.url)),
    },
  })
  return JSON.parse(printed)
}

/** What a child that loads the apps has loaded. */
const loaded = resultOf(listing)

it.each(late)('a start does not load %s', (_, pattern) => {
  const found = loaded.filter((what) => pattern.test(what))
  expect(found.slice(0, 3)).toEqual([])
})

it('what a start loads is seen here', () => {
  expect(loaded.some((url) => url.endsWith('/apps/worker/src/worker.ts'))).toBe(true)
  expect(loaded.some((url) => url.includes('/node_modules/fastify/'))).toBe(true)
})

/** Files only: what Node has in itself is always there. */
const noFiles = `
  import { registerHooks } from 'node:module'
  const lost = []
  const loseFiles = () => registerHooks({
    load: (url, context, next) => {
      if (url.startsWith('file:')) lost.push(url)
      return next(url, context)
    },
  })`

it('a worker that is loaded has all files that composing, sending and capturing a mail take', () => {
  const program = `${noFiles}
    import '@valija/worker'
    import { captureTarget, createNetworkGuard, createOpenSession, defaultDeadlines, startCaptureReceiver } from '@valija/courier'
    import { compose, parseAddress } from '@valija/mail'
    loseFiles()
    const { value: address } = parseAddress('ann@example.test')
    const from = { name: 'José', address }
    const attachment = { filename: 'a.pdf', content: Buffer.from('a'), contentType: null, contentId: null, disposition: null }
    const mail = await compose({
      from, replyTo: [], to: [from], cc: [], subject: 'ñ', text: 'ñ', html: '<p>ñ</p>', headers: [], attachments: [attachment],
      messageId: '<1@example.test>', date: new Date(0), boundarySeed: 'a'.repeat(20),
    })
    const receiver = await startCaptureReceiver({ host: '127.0.0.1', maxSizeBytes: 1e6, onMail: async () => {} })
    for (const isNodemailerOnly of [false, true]) {
      const open = createOpenSession({ guard: createNetworkGuard([]), isNodemailerOnly })
      const { session } = await open(captureTarget(receiver, 'us.example.test'), defaultDeadlines)
      const envelope = { from: '', to: 'ann@example.test', needsSmtpUtf8: false, envid: 'x' }
      const { reply } = await session.send(envelope, mail, { isStillMine: () => true }, { route: 'capture' })
      if (reply.code !== 250) lost.push(JSON.stringify(reply))
      await session.close()
    }
    await receiver.close()
    process.stdout.write(JSON.stringify(lost))`
  expect(resultOf(program)).toEqual([])
})

it('what management tables take is loaded without a database, and nothing is left to be loaded when they are read', () => {
  const program = `${noFiles}
    import { openDatabase } from '@valija/store'
    const database = openDatabase({ url: 'postgres://127.0.0.1:1/none', onError: () => {} })
    await database.load()
    loseFiles()
    const failed = await Promise.allSettled([database.operators.tenant.findFirst(), database.tenants.domain.findFirst()])
    await database.close()
    process.stdout.write(JSON.stringify([...failed.map(({ status }) => status), ...lost]))`
  expect(resultOf(program)).toEqual(['rejected', 'rejected'])
})
