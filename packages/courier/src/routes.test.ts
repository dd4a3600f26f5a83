import { expect, test } from 'vitest'
import { captureTarget, type Smarthost, smarthostTarget } from './routes.ts'

const relay: Smarthost = {
  secure: false,
  host: 'relay.example',
  port: 587,
  auth: null,
  tls: 'opportunistic',
  isGuarded: false,
}
const from = { route: 'smarthost', ehloName: 'us.example', localAddress: '192.0.2.7' }

test('the operator names the smarthost, and the capture receiver is ours: both are exempt from the guard', () => {
  expect(smarthostTarget(relay, from)).toMatchObject({ localAddress: '192.0.2.7', isExemptFromGuard: true })
  const capture = captureTarget({ host: '127.0.0.1', port: 20_001 }, 'us.example')
  expect(capture).toMatchObject({
    route: 'capture',
    port: 20_001,
    tls: 'off',
    auth: null,
    isExemptFromGuard: true,
  })
})

test('a smarthost that a tenant named goes through the guard', () => {
  expect(smarthostTarget({ ...relay, isGuarded: true }, from).isExemptFromGuard).toBe(false)
})
