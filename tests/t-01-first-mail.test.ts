import { afterAll, beforeAll, expect, test } from 'vitest'
import { startSmtpPeer, type SmtpPeer } from './support/smtp-peer.ts'
import { startValija, type Valija } from './support/valija.ts'
let peer: SmtpPeer, valija: Valija
beforeAll(async () => {
  peer = await startSmtpPeer()
  valija = await startValija({ queue: 'postgres', delivery: 'smarthost', smarthost: peer })
})
afterAll(async () => { await valija?.stop(); await peer?.stop() })
test('x', async () => {
  const a = await valija.api('POST', '/send', valija.mail())
  expect(a.status, a.text).toBe(202)
  await peer.received(1)
})
