/** Causes that lie with the sender's and the operator's side: domains, suppressions, routes, sources, time, shaping, and whoever works. */
import type { CauseWorld, SeededCause } from './cause-world.ts'
import { inParallel } from './message-life.ts'
import { after, type SmtpPeer } from './smtp-peer.ts'
import { until } from './until.ts'

/** Takes only what bears a DKIM signature. */
const wantsSignature = async (world: CauseWorld, domain: string): Promise<void> => {
  const peer: SmtpPeer = await world.site(domain)
  const unsigned =
    '550 5.7.26 This mail has been blocked because the sender is unauthenticated: DKIM = did not pass'
  peer.script = { body: () => (peer.refused.at(-1)?.text.includes('DKIM-Signature:') ? undefined : unsigned) }
}

type Records = { id: string; records: { name: string; value: string; purpose: string }[] }

export const senders: SeededCause[] = [
  {
    name: 'mail that is not signed, since the operator only vouches for its domain',
    kind: 'authentication',
    status: 'bounced',
    remedy: /Have the operator set "dkim": true for vouched\.test/,
    seed: async (world) => {
      await wantsSignature(world, 'strict.test')
      await world.operate('POST', '/domains', { name: 'vouched.test', vouched: true }, world.valija.tenantId)
      return world.send('ann@strict.test', { from: 'hi@vouched.test' })
    },
    cure: async (world, _id, told) => {
      const domain = /PATCH \/domains\/(dom_\w+)/.exec(told.remedy)?.[1]
      await world.operate('PATCH', `/domains/${domain}`, { dkim: true }, world.valija.tenantId)
      return world.send('ann@strict.test', { from: 'hi@vouched.test' })
    },
  },
  {
    name: 'a DKIM record that is not published',
    kind: 'authentication',
    status: 'bounced',
    remedy: /Publish the DNS record \S+\._domainkey\.own\.test/,
    seed: async (world) => {
      await wantsSignature(world, 'strict2.test')
      const { id, records } = await world.manage<Records>('POST', '/domains', { name: 'own.test' })
      const ownership = records.find(({ purpose }) => purpose === 'ownership')!
      world.internet.dns.set(ownership.name, 'TXT', [ownership.value], 1)
      await world.manage('POST', `/domains/${id}/verify`)
      return world.send('ann@strict2.test', { from: 'hi@own.test' })
    },
    cure: async (world, _id, told) => {
      const id = /GET \/domains\/(dom_\w+)/.exec(told.remedy)?.[1]
      const { records } = await world.manage<Records>('GET', `/domains/${id}`)
      for (const { name, value } of records) world.internet.dns.set(name, 'TXT', [value], 1)
      await until('its keys seen', async () => {
        const seen = await world.manage<{ records: { purpose: string; status: string }[] }>(
          'POST',
          `/domains/${id}/verify`,
        )
        return seen.records.every(({ purpose, status }) => purpose !== 'dkim' || status === 'ok')
      })
      return world.send('ann@strict2.test', { from: 'hi@own.test' })
    },
  },
  suppressed('an address that somebody suppressed', 'by-hand', async (world, email) => {
    await world.manage('POST', '/suppressions', { email })
  }),
  suppressed('an address that its server denied, and has again', 'denied', async (world, email) => {
    const peer = await world.internet.site('once.test', { script: { rcpt: '550 5.1.1 no such user' } })
    await world.isDelivered(await world.send(email))
    peer.script = {}
  }),
  suppressed('an address whose owner complained', 'complained', async (world, email) => {
    await world.valija.sql(
      `INSERT INTO valija.suppressions (id, tenant_id, email, email_key, stream, reason)
       VALUES (valija.new_id(), $1::uuid, $2, $2, 'transactional', 'complaint')`,
      [world.valija.tenantId.slice('ten_'.length), email],
    )
  }),
  {
    name: 'a time that was asked for',
    kind: 'scheduled',
    status: 'scheduled',
    remedy: /PATCH \/messages\/:id with \{"send_at": null\}/,
    seed: async (world) => {
      await world.site('later.test')
      return world.send('ann@later.test', { send_at: new Date(Date.now() + 3_600_000).toISOString() })
    },
    cure: async (world, id) => {
      await world.manage('PATCH', `/messages/${id}`, { send_at: null })
      return id
    },
  },
  {
    name: 'a server that did not run until the mail’s time was over',
    kind: 'connection_refused',
    status: 'failed',
    remedy: /has to take connections at mx\.expired\.test:\d+.* Then send the mail again/,
    seed: async (world) => {
      const { dns, deadAddress } = world.internet
      dns.set('mx.expired.test', 'A', [deadAddress()])
      dns.set('expired.test', 'MX', ['10 mx.expired.test'])
      return world.send('ann@expired.test', { stream: 'bulk' })
    },
    cure: async (world, _id, told) => {
      const host = /(127\.0\.\d+\.\d+)/.exec(told.because[0]?.detail ?? '')?.[1] ?? ''
      await world.internet.exchanger('mx.expired.test', { host })
      return world.send('ann@expired.test')
    },
  },
]

function suppressed(
  name: string,
  local: string,
  suppress: (world: CauseWorld, email: string) => Promise<void>,
): SeededCause {
  const domain = local === 'denied' ? 'once.test' : `${local}.test`
  const email = `${local}@${domain}`
  return {
    name,
    kind: 'suppressed',
    status: 'suppressed',
    remedy: /remove the entry \(DELETE \/suppressions\/sup_\w+\) and send the mail again/,
    seed: async (world) => {
      if (local !== 'denied') await world.site(domain)
      await suppress(world, email)
      return world.send(email)
    },
    cure: async (world, _id, told) => {
      await world.manage('DELETE', `/suppressions/${/(sup_\w+)/.exec(told.remedy)?.[1]}`)
      return world.send(email)
    },
  }
}

const route = (world: CauseWorld, name: string, host: { host: string; port: number }, more: object = {}) =>
  world.manage('POST', '/routes', {
    name,
    kind: 'smarthost',
    host: host.host,
    port: host.port,
    tls: 'off',
    ...more,
  })

const routeOf = (remedy: string) => /\/routes\/(rou_\w+)/.exec(remedy)?.[1]

export const routes: SeededCause[] = [
  {
    name: 'a relay that refuses the login',
    kind: 'login_refused',
    status: 'queued',
    remedy: /Put user and password of the route locked right/i,
    seed: async (world) => {
      const relay = await world.relay({ auth: { user: 'acme', pass: 'right' } })
      await route(world, 'locked', relay, { user: 'acme', password: 'wrong' })
      await world.send('ann@anywhere.test', { route: 'locked' })
      await until(
        'the route is paused',
        async () => {
          const { data } = await world.manage<{ data: { name: string; state: string }[] }>('GET', '/routes')
          return data.some(({ name, state }) => name === 'locked' && state === 'paused')
        },
        20_000,
      )
      return world.send('bob@anywhere.test', { route: 'locked' })
    },
    cure: async (world, id, told) => {
      await world.manage('PATCH', `/routes/${routeOf(told.remedy)}`, { password: 'right' })
      await world.manage('POST', `/routes/${routeOf(told.remedy)}/resume`)
      return id
    },
  },
  {
    name: 'a relay that does not run',
    kind: 'connection_refused',
    status: 'deferred',
    remedy: /The relay has to take connections at 127\.0\.0\.1:\d+/,
    seed: async (world) => {
      const relay = await world.relay()
      await relay.stop()
      await route(world, 'stopped', relay)
      return world.send('ann@anywhere.test', { route: 'stopped' })
    },
    cure: async (world, id, told) => {
      const port = Number(/127\.0\.0\.1:(\d+)/.exec(told.remedy)?.[1])
      await world.relay({ port })
      return id
    },
  },
  {
    name: 'a route that somebody paused',
    kind: 'route_paused',
    status: 'queued',
    remedy: /Resume it \(POST \/routes\/rou_\w+\/resume\)/,
    seed: async (world) => {
      const { id } = await route(world, 'paused', await world.relay())
      await world.manage('PATCH', `/routes/${id}`, { state: 'paused' })
      return world.send('ann@anywhere.test', { route: 'paused' })
    },
    cure: async (world, id, told) => {
      await world.manage('POST', `/routes/${routeOf(told.remedy)}/resume`)
      return id
    },
  },
  {
    name: 'an address that is warming up',
    kind: 'warm_up',
    status: 'queued',
    remedy: /when the next hour or day of the warm-up begins\. The operator can add source addresses/,
    seed: async (world) => {
      await world.site('warm.test')
      await world.addSource('warm', { warm_up: { caps: [1] } })
      await world.operate('POST', '/routes', { name: 'warming', kind: 'mx', pool: 'warm' })
      const ids = await Promise.all(
        ['a', 'b', 'c'].map((local) => world.send(`${local}@warm.test`, { route: 'warming' })),
      )
      return until(
        'one that waits for the warm-up',
        async () => {
          for (const id of ids) {
            const told = await world.explain(id)
            if (told.status === 'queued' && told.next_attempt_at !== null) return id
          }
          return null
        },
        20_000,
      )
    },
    cure: async (world, id) => {
      await world.addSource('warm')
      await world.passTime(id)
      return id
    },
  },
  {
    name: 'a pool without an address',
    kind: 'no_source',
    status: 'queued',
    remedy: /run a worker on the machine that has an address of the pool empty, or enable one/,
    seed: async (world) => {
      await world.site('nosource.test')
      const { id } = await world.addSource('empty')
      await world.operate('PATCH', `/source-ips/${id}`, { state: 'paused' })
      await world.operate('POST', '/routes', { name: 'sourceless', kind: 'mx', pool: 'empty' })
      return world.send('ann@nosource.test', { route: 'sourceless' })
    },
    cure: async (world, id) => {
      const { data } = await world.operate<{ data: { id: string; pool: string }[] }>('GET', '/source-ips')
      const source = data.find(({ pool }) => pool === 'empty')
      await world.operate('PATCH', `/source-ips/${source?.id}`, { state: 'enabled' })
      await world.passTime(id)
      return id
    },
  },
  pausedSite(),
  {
    name: 'mail of a sender domain that a provider holds against it',
    kind: 'sender_held',
    status: 'queued',
    remedy: /it goes on by itself\. If it comes back, look at what acme\.test sends there/,
    seed: async (world) => {
      await world.internet.exchanger('mx.picky.test', {
        script: { rcpt: ['450 4.7.1 unusual rate of mail from your domain, slow down'] },
      })
      world.internet.dns.set('customer.test', 'MX', ['10 mx.picky.test'])
      await world.explained(await world.send('first@customer.test'), 'deferred')
      return until(
        'a mail that is held back',
        async () => {
          const id = await world.send('second@customer.test')
          const told = await until('a look', async () => {
            const seen = await world.explain(id)
            return seen.because[0]?.kind === 'next_in_line' || seen.because[0]?.kind === 'sending'
              ? null
              : seen
          })
          return told.status === 'queued' ? id : null
        },
        20_000,
      )
    },
    cure: async (world, id) => {
      // The worker that met the reply writes down a moment later what it holds back.
      await until('the hold in GET /queue', async () => {
        const { holds } = await world.operate<{ holds: { domain: string | null }[] }>('GET', '/queue')
        return holds.some(({ domain }) => domain === 'acme.test')
      })
      await world.resumeSite('picky')
      return id
    },
  },
]

/** The mail's `send_at` is now. */
async function letTimeCome(world: CauseWorld, id: string): Promise<void> {
  const uuid = [id.slice('msg_'.length)]
  const { sql } = world.valija
  await sql('UPDATE valija.messages SET send_at = now() WHERE id = $1::uuid', uuid)
  await sql('UPDATE valija.recipients SET next_attempt_at = now() WHERE message_id = $1::uuid', uuid)
  await sql('UPDATE valija.deliveries SET starts_at = now() WHERE message_id = $1::uuid', uuid)
  await world.passTime(id)
}

export const workers: SeededCause[] = [
  tenantShare(),
  {
    name: 'a tenant that the operator suspended',
    kind: 'tenant_suspended',
    status: 'scheduled',
    remedy: /PATCH \/tenants\/:id with "status": "active"/,
    isAlone: true,
    seed: async (world) => {
      await world.site('held.test')
      // An hour ahead, so that it is not gone before the tenant is suspended; then its time comes.
      const id = await world.send('ann@held.test', {
        send_at: new Date(Date.now() + 3_600_000).toISOString(),
      })
      await world.operate('PATCH', `/tenants/${world.valija.tenantId}`, { status: 'suspended' })
      await letTimeCome(world, id)
      return id
    },
    cure: async (world, id) => {
      await world.operate('PATCH', `/tenants/${world.valija.tenantId}`, { status: 'active' })
      return id
    },
  },
  {
    name: 'bulk mail that the operator holds',
    kind: 'bulk_paused',
    status: 'queued',
    remedy: /PATCH \/tenants\/:id with "bulk_paused": false/,
    isAlone: true,
    seed: async (world) => {
      await world.site('held-bulk.test')
      await world.operate('PATCH', `/tenants/${world.valija.tenantId}`, { bulk_paused: true })
      return world.send('ann@held-bulk.test', { stream: 'bulk' })
    },
    cure: async (world, id) => {
      await world.operate('PATCH', `/tenants/${world.valija.tenantId}`, { bulk_paused: false })
      return id
    },
  },
  {
    name: 'a worker that stands still',
    kind: 'workers_busy',
    status: 'queued',
    remedy: /start more of them/,
    isAlone: true,
    seed: async (world) => {
      await world.site('still.test')
      world.valija.workers[0]?.pause()
      return world.send('ann@still.test')
    },
    cure: async (world, id) => {
      const [still] = world.valija.workers.splice(0)
      await world.valija.addWorker()
      await world.isDelivered(id)
      await still?.kill()
      return id
    },
  },
  {
    name: 'no worker at all',
    kind: 'no_worker',
    status: 'queued',
    remedy: /start a worker/,
    isAlone: true,
    seed: async (world) => {
      await world.site('nobody.test')
      await world.killWorkers()
      return world.send('ann@nobody.test')
    },
    cure: async (world, id) => {
      await world.valija.addWorker()
      return id
    },
  },
  unknownRoute(),
  {
    // The one worker that could deliver without it is stopped as well, or the mail would be gone before anybody asks.
    name: 'a queue that is away',
    kind: 'queue_away',
    status: 'queued',
    remedy: /bring Redis or Valkey back/,
    isAlone: true,
    seed: async (world) => {
      await world.site('away.test')
      for (const worker of world.valija.workers) worker.pause()
      await world.valija.redis?.stop()
      return world.send('ann@away.test')
    },
    cure: async (world, id) => {
      await world.valija.redis?.restart()
      for (const worker of world.valija.workers) worker.resume()
      return id
    },
  },
]

/** What its first mails meet, the later ones need not. */
function pausedSite(): SeededCause {
  let peer: SmtpPeer
  return {
    name: 'a site that is left alone for what it answered to others',
    kind: 'site_paused',
    status: 'queued',
    remedy: /goes on as soon as it takes mail.* lift the pause at once/,
    seed: async (world) => {
      peer = await world.site('busy.test', {
        connect: '421 4.7.0 Too many connections from you, come back later',
      })
      await world.send('first@busy.test')
      await world.slowedSite('mx.busy.test', 'suspended')
      return world.send('second@busy.test')
    },
    cure: async (world, id) => {
      peer.script = {}
      await world.resumeSite('mx.busy.test')
      return id
    },
  }
}

function tenantShare(): SeededCause {
  let peer: SmtpPeer
  return {
    name: 'the tenant’s own mail before it',
    kind: 'tenant_share',
    status: 'queued',
    remedy: /it is sent when those before it are/,
    isAlone: true,
    seed: async (world) => {
      peer = await world.site('run.test', { rcpt: after(3_000, '250 2.1.5 ok') })
      // More than the workers hold (80) and the dispatcher lets through ahead of them (128).
      await inParallel(260, 25, (i) => world.send(`r${i}@run.test`))
      return world.send('last@run.test')
    },
    cure: async (_world, id) => {
      peer.script = {}
      return id
    },
  }
}

/** Accepted by an API that has a relay, while the workers have none. */
function unknownRoute(): SeededCause {
  let env: Record<string, string>
  return {
    name: 'a route that no worker knows, since they were set up otherwise than the API',
    kind: 'no_route',
    status: 'queued',
    remedy: /bring the route smarthost back \(.*VALIJA_DELIVERY of the workers\)/,
    isAlone: true,
    seed: async (world) => {
      const { port } = await world.relay()
      env = { VALIJA_DELIVERY: 'smarthost', VALIJA_SMARTHOST_URL: `smtp://127.0.0.1:${port}` }
      const api = await world.valija.addApi(env)
      return world.send('ann@byrelay.test', {}, api.call)
    },
    cure: async (world, id) => {
      await world.killWorkers()
      await world.valija.addWorker(env)
      await world.passTime(id)
      await world.isDelivered(id)
      await world.killWorkers()
      await world.valija.addWorker()
      return id
    },
  }
}
