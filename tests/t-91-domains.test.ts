/**
 * A sender domain from end to end: what its zone lacks is said by name, and what is published is used: the signatures, and a return
 * path of its own. Its keys change under load without a gap. When its proof is gone, it stops after its grace, by the clock.
 */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { bothPass, verifyByMailauth } from './support/dkim-verifiers.ts'
import type { ZoneType } from './support/dns-server.ts'
import { type Internet, startInternet } from './support/internet.ts'
import { post, untilEnded } from './support/message-life.ts'
import { untilShown } from './support/shown-events.ts'
import type { SmtpPeer } from './support/smtp-peer.ts'
import { until } from './support/until.ts'
import { expectStatus, startValija, type Valija } from './support/valija.ts'

type Shown = {
  id: string
  status: string
  failing_since: string | null
  records: {
    purpose: string
    type: ZoneType
    name: string
    value: string
    status: string
    fault: string | null
    state: string | null
    checked_at: string | null
  }[]
}

const name = 'own.test'
let internet: Internet
let peer: SmtpPeer
let valija: Valija
let domain: Shown

beforeAll(async () => {
  internet = await startInternet()
  peer = await internet.site('example.org')
  internet.dns.set('bounce.example.test', 'MX', ['10 mx.example.test'])
  internet.dns.set('bounce.example.test', 'TXT', ['v=spf1 ip4:127.0.0.1 -all'])
  valija = await startValija({ queue: 'postgres', delivery: 'mx', internet })
  domain = expectStatus(await valija.api<Shown>('POST', '/domains', { name }), 201).json
})
afterAll(async () => {
  await valija?.stop()
  await internet?.stop()
})

const verify = async () =>
  expectStatus(await valija.api<Shown>('POST', `/domains/${domain.id}/verify`), 200).json
const show = async () => expectStatus(await valija.api<Shown>('GET', `/domains/${domain.id}`), 200).json
const publish = (records: Shown['records']) => {
  for (const record of records) internet.dns.set(record.name, record.type, [record.value])
}
const dkimOf = ({ records }: Shown, state = /./) =>
  records.filter((record) => record.purpose === 'dkim' && state.test(record.state ?? ''))
/** Sends a mail and gives back what arrived. */
const arrive = async (to: string) => {
  await untilEnded(valija.api, await post(valija.api, valija.mail({ from: `a@${name}`, to })))
  const mail = peer.mails.find((received) => received.to.includes(to))
  if (mail === undefined) throw new Error(`nothing arrived for ${to}`)
  return mail
}
const verdictOf = async (mail: { raw: Buffer }, records: Shown['records']) => {
  const keys = Object.fromEntries(records.map((record) => [record.name, record.value]))
  return (await verifyByMailauth([mail.raw], keys))[0]
}

test('a half-right zone: each fault by its name, and nothing may be sent', async () => {
  const { dns } = internet
  const [proof, rsa, ed25519, path, spf, dmarc] = domain.records
  dns.set(`${proof!.name}.${name}`, 'TXT', [proof!.value])
  dns.set(rsa!.name, 'TXT', [rsa!.value.slice(0, 255)])
  dns.set(ed25519!.name, 'TXT', [`"${ed25519!.value}"`])
  dns.set(path!.name, 'CNAME', [`${path!.value}.${name}`])
  dns.set(spf!.name, 'TXT', ['v=spf1 mx -all', spf!.value])
  dns.set(dmarc!.name, 'TXT', ['v=DMARC1; p=none', 'v=DMARC1; p=reject'])
  const shown = await verify()
  expect(shown.records.map(({ purpose, fault }) => [purpose, fault])).toEqual([
    ['ownership', 'doubled_name'],
    ['dkim', 'cut_off'],
    ['dkim', 'quoted'],
    ['return_path', 'doubled_target'],
    ['spf', 'several_spf'],
    ['dmarc', 'several_dmarc'],
  ])
  expect(shown.status).toBe('pending')
  expectStatus(await valija.api('POST', '/send', valija.mail({ from: `a@${name}` })), 403)
})

test('all records right: signed by both keys, and bounces come back to a host of its own', async () => {
  publish(domain.records)
  internet.dns.remove(`_valija.${name}.${name}`)
  const shown = await verify()
  expect(shown.records.map(({ status }) => status)).toEqual(domain.records.map(() => 'ok'))
  await until(
    'may send',
    async () =>
      (await valija.api('POST', '/send', valija.mail({ from: `a@${name}`, to: 'first@example.org' })))
        .status === 202,
  )
  const mail = await arrive('right@example.org')
  expect(mail.from).toMatch(/^b-[a-z2-7]{58}@bounce\.own\.test$/)
  expect(await verdictOf(mail, domain.records)).toEqual(bothPass)
})

test('an alias that is lost: bounces come back to the installation’s own host, and the owner is told', async () => {
  const path = domain.records.find(({ purpose }) => purpose === 'return_path')!
  internet.dns.remove(path.name)
  await verify()
  let count = 0
  // Workers hear of it a moment after the answer.
  await until('our own host', async () => {
    const mail = await arrive(`path${count++}@example.org`)
    return mail.from.endsWith('@bounce.example.test')
  })
  await untilShown(valija.sql)
  const events = await valija.api<{ data: { data: { lost?: string[] } }[] }>(
    'GET',
    '/events?type=domain.failed',
  )
  expect(events.json.data.map(({ data }) => data.lost)).toEqual([[path.name]])
  publish([path])
  await verify()
})

test('keys change under load: every mail that arrives has both signatures, by keys that are published', async () => {
  const rotated = await valija.api<Shown>('POST', `/domains/${domain.id}/rotate-dkim`)
  const fresh = dkimOf(expectStatus(rotated, 200).json, /next/)
  const everPublished = [...dkimOf(domain), ...fresh]
  const mails: Awaited<ReturnType<typeof arrive>>[] = []
  let isDone = false
  const sending = Array.from({ length: 4 }, async (_, lane) => {
    for (let i = 0; !isDone; i++) mails.push(await arrive(`rotate${lane}.${i}@example.org`))
  })
  const selectors = (mail: { text: string }) =>
    [...mail.text.matchAll(/; s=([^;]+);/g)].map(([, selector]) => selector)
  const newSelectors = fresh.map((record) => record.name.split('.')[0])
  await until('mails by the old keys', () => mails.length > 10)
  // Not before they are seen, however often somebody looks.
  await verify()
  expect(mails.flatMap(selectors).filter((selector) => newSelectors.includes(selector))).toEqual([])
  publish(fresh)
  expect(dkimOf(await verify(), /active/).map((record) => record.name)).toEqual(
    fresh.map((record) => record.name),
  )
  await until('mails by the new keys', () =>
    newSelectors.every((selector) => selectors(mails.at(-1)!).includes(selector)),
  )
  isDone = true
  await Promise.all(sending)
  const keys = Object.fromEntries(everPublished.map((record) => [record.name, record.value]))
  const verdicts = await verifyByMailauth(
    mails.map(({ raw }) => raw),
    keys,
  )
  expect(new Set(verdicts.map(String))).toEqual(new Set([String(bothPass)]))
})

test('a proof that is gone: found by the clock, and after 72 hours nothing is accepted any more; a new one brings all back', async () => {
  const proof = domain.records[0]!
  const pass = (column: string, hours: number) =>
    valija.sql(`UPDATE valija.domains SET ${column} = ${column} - $1 * interval '1 hour' WHERE name = $2`, [
      hours,
      name,
    ])
  const lookedAt = async () => (await show()).records[0]?.checked_at
  const look = async () => {
    const before = await lookedAt()
    // A day and what it is varied by, so that workers do not all ask at once.
    await pass('next_check_at', 26)
    // A worker looks for what is due as soon as it starts.
    await valija.addWorker()
    await until('a look', async () => (await lookedAt()) !== before)
  }
  const send = async () => (await valija.api('POST', '/send', valija.mail({ from: `a@${name}` }))).status
  internet.dns.remove(proof.name)
  await look()
  expect((await show()).failing_since).not.toBeNull()
  expect(await send()).toBe(202)
  await pass('failing_since', 71)
  await look()
  expect((await show()).status).toBe('verified')
  expect(await send()).toBe(202)
  await pass('failing_since', 2)
  await look()
  expect((await show()).status).toBe('failed')
  await until('refused', async () => (await send()) === 403)
  publish([proof])
  expect((await verify()).status).toBe('verified')
})
