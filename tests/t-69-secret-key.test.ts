/**
 * A change of VALIJA_SECRET_KEY under traffic: old → `new,old` → new, process by process. Signed mail and signed webhooks flow all the time, and
 * everything that the old key has sealed opens when it is gone.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { isDeepStrictEqual } from 'node:util'
import { createSealer, webhookSecretOwner } from '@valija/core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { bothPass, type DkimRecords, verifyByMailauth } from './support/dkim-verifiers.ts'
import { countEach } from './support/message-life.ts'
import { type Running, startApp } from './support/processes.ts'
import { type SmtpPeer, startSmtpPeer } from './support/smtp-peer.ts'
import { PATIENCE_MS, until } from './support/until.ts'
import { type Call, expectStatus, startValija, type Valija } from './support/valija.ts'
import { startWebhookReceiver, type WebhookReceiver } from './support/webhook-receiver.ts'

const [oldKey, newKey] = ['the-old-secret-key-of-this-test', 'the-new-secret-key-of-this-test']
const both = { VALIJA_SECRET_KEY: `${newKey},${oldKey}` }
const signedDomain = 'signed.test'
const manySecrets = 400

let peer: SmtpPeer
let receiver: WebhookReceiver
let valija: Valija
let records: DkimRecords
const seen = {
  /** Addresses of every mail that was answered 202, and the answers that were others. */
  accepted: [] as string[],
  refused: [] as string[],
  /** Values under the new key while a process runs that knows only the old one. */
  resealedTooEarly: 0,
  refusals: [] as string[],
  doctor: '',
  /** Of a host that was forgotten in the first step, and comes when all is over. */
  late: { refusal: '', doctor: '', changed: true },
}

/** What a start says that is to be refused. */
async function refusalOf(secretKey: string): Promise<string> {
  const process = startApp('worker', { ...valija.env, VALIJA_SECRET_KEY: secretKey })
  const { code } = await process.ended
  return `${code}: ${process.lines.join('\n')}`
}

async function askDoctor(secretKey: string): Promise<string> {
  const doctor = startApp('doctor', { ...valija.env, VALIJA_SECRET_KEY: secretKey })
  await doctor.ended
  return doctor.lines.find((line) => line.includes('secret_key')) ?? doctor.lines.join('\n')
}

const readSealed = () =>
  Promise.all([
    valija.sql('SELECT name, value FROM valija.instance ORDER BY name'),
    valija.sql('SELECT id, secret FROM valija.webhooks ORDER BY id'),
  ])

async function comeLate(): Promise<void> {
  const present = await readSealed()
  const secretKey = `${oldKey},${newKey}`
  const [refusal, doctor] = await Promise.all([refusalOf(secretKey), askDoctor(secretKey)])
  seen.late = { refusal, doctor, changed: !isDeepStrictEqual(await readSealed(), present) }
}

const countSealedBy = async (key: string): Promise<number> => {
  const rows = await valija.sql('SELECT FROM valija.webhooks WHERE substring(secret FROM 2 FOR 4) = $1', [
    createSealer([key]).fingerprints[0],
  ])
  return rows.length
}

/** Enough for several steps; nobody is told by them. */
async function addManySecrets(): Promise<void> {
  const sealer = createSealer([oldKey])
  const ids = (
    await valija.sql<{ id: string }>(`SELECT uuidv7()::text AS id FROM generate_series(1, ${manySecrets})`)
  ).map(({ id }) => id as Parameters<typeof webhookSecretOwner>[1])
  const [tenant] = await valija.sql<{ id: (typeof ids)[number] }>('SELECT id FROM valija.tenants')
  await valija.sql(
    `INSERT INTO valija.webhooks (id, tenant_id, url, events, status, secret)
     SELECT id, $1, 'https://a.test', '{*}', 'disabled', secret FROM unnest($2::uuid[], $3::bytea[]) AS made (id, secret)`,
    [tenant!.id, ids, ids.map((id) => sealer.seal(Buffer.from('x'), webhookSecretOwner(tenant!.id, id)))],
  )
}

async function rotate(apis: Set<Call>, oldApi: Running, oldWorker: Running): Promise<void> {
  seen.refusals.push(await refusalOf(newKey))
  const [next, worker] = await Promise.all([valija.addApi(both), valija.addWorker(both)])
  apis.add(next.call)
  await worker.line('do not know the first VALIJA_SECRET_KEY', PATIENCE_MS)
  seen.resealedTooEarly = await countSealedBy(newKey)
  seen.refusals.push(await refusalOf(oldKey))
  apis.delete(valija.api)
  await Promise.all([oldApi.stop(PATIENCE_MS), oldWorker.stop(PATIENCE_MS)])
  await worker.line('nothing is sealed with an older', PATIENCE_MS)
  seen.doctor = await askDoctor(both.VALIJA_SECRET_KEY)
  const alone = { VALIJA_SECRET_KEY: newKey }
  const [last] = await Promise.all([valija.addApi(alone), valija.addWorker(alone)])
  apis.add(last.call)
  apis.delete(next.call)
  await Promise.all([next.process.stop(PATIENCE_MS), worker.stop(PATIENCE_MS)])
  await comeLate()
}

beforeAll(async () => {
  peer = await startSmtpPeer()
  receiver = await startWebhookReceiver()
  valija = await startValija({
    ...{ queue: 'postgres', delivery: 'smarthost', smarthost: peer },
    env: { VALIJA_SECRET_KEY: oldKey, VALIJA_ALLOW_NETWORKS: '127.0.0.0/8' },
  })
  const domain = { name: signedDomain, vouched: true, dkim: true }
  const made = await valija.admin<{ records: { purpose: string; name: string; value: string }[] }>(
    ...(['POST', '/domains', domain, { 'valija-tenant': valija.tenantId }] as const),
  )
  const dkim = expectStatus(made, 201).json.records.filter(({ purpose }) => purpose === 'dkim')
  records = Object.fromEntries(dkim.map(({ name, value }) => [name, value]))
  const webhook = { url: receiver.url, events: ['message.delivered'] }
  receiver.secret = expectStatus(
    await valija.api<{ secret: string }>('POST', '/webhooks', webhook),
    201,
  ).json.secret
  await addManySecrets()

  const apis = new Set([valija.api])
  let isOver = false
  const traffic = (async () => {
    for (let number = 0; !isOver; number += 1) {
      const call = [...apis][number % apis.size]!
      const to = `m${number}@example.org`
      const answer = await call(
        'POST',
        '/send',
        valija.mail({ from: `Acme <hi@${signedDomain}>`, to }),
      ).catch((error: Error) => ({ status: 0, text: error.message }))
      if (answer.status === 202) seen.accepted.push(to)
      else seen.refused.push(`${answer.status} ${answer.text}`)
      await delay(100) // a pace
    }
  })()
  await rotate(apis, valija.apis[0]!, valija.workers[0]!).finally(() => {
    isOver = true
    return traffic
  })
  // One more, by processes that have never seen the old key.
  await until('every mail', () => peer.mails.length >= seen.accepted.length, PATIENCE_MS)
  await receiver.received(seen.accepted.length, PATIENCE_MS)
}, 300_000)
afterAll(async () => {
  await valija?.stop()
  await receiver?.stop()
  await peer?.stop()
})

describe('while VALIJA_SECRET_KEY changes', () => {
  test('a start with the new key alone, before anything was sealed anew, is refused with what to do', () => {
    expect(seen.refusals[0]).toMatch(/^1: .*sealed with another VALIJA_SECRET_KEY.*"new,old"/)
  })

  test('nothing is sealed anew as long as a process runs that could not open it, and no further one starts', () => {
    expect(seen.resealedTooEarly).toBe(0)
    expect(seen.refusals[1]).toMatch(/^1: .*sealed with another VALIJA_SECRET_KEY/)
  })

  test('every request is answered, and every mail is delivered once, signed by both keys of its domain', async () => {
    expect(seen.refused).toEqual([])
    expect(peer.mails).toHaveLength(seen.accepted.length)
    expect(countEach(peer.mails.map(({ to }) => to[0]!)).size).toBe(seen.accepted.length)
    const raws = peer.mails.map(({ raw }) => raw)
    expect(new Set((await verifyByMailauth(raws, records)).map(String))).toEqual(new Set([String(bothPass)]))
  })

  test('every webhook is signed with the secret that its endpoint was given under the old key', () => {
    expect(receiver.calls.filter(({ isVerified }) => !isVerified)).toEqual([])
    expect(new Set(receiver.calls.map(({ id }) => id)).size).toBe(seen.accepted.length)
  })

  test('in the end log and doctor say that the old key can go, and nothing is sealed with it', async () => {
    expect(seen.doctor).toMatch(/nothing needs the older keys but bounces of mail of the last 60 days/)
    expect(await countSealedBy(oldKey)).toBe(0)
    expect(await countSealedBy(newKey)).toBe(manySecrets + 1)
  })

  test('a late process that still seals with the old key is refused, changes nothing, and doctor says the same', () => {
    expect(seen.late.refusal).toMatch(/^1: .*first VALIJA_SECRET_KEY here was retired.*"new,old"/)
    expect(seen.late.doctor).toMatch(/^FAIL.*retired.*no process will start/)
    expect(seen.late.changed).toBe(false)
  })

  test('no process has told of trouble', () => {
    const lines = [...valija.apis, ...valija.workers].flatMap((process) => process.lines)
    expect(lines.filter((line) => /"level":"(?:error|fatal)"/.test(line))).toEqual([])
  })
})
