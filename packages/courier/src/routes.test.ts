import { expect, test } from 'vitest'
import { captureTarget, type SmarthostConfig, smarthostTarget } from './routes.ts'

const config: SmarthostConfig = { secure: false, host: 'relay.example', port: 587, user: null, pass: null }
const source = { ehloName: 'us.example', localAddress: '192.0.2.7' }

test('smtp:// takes whatever encryption there is, smtps:// a verified certificate', () => {
  expect(smarthostTarget(config, source)).toMatchObject({ secure: false, tls: 'opportunistic', auth: null })
  const secured = smarthostTarget({ ...config, secure: true, port: 465 }, source)
  expect(secured).toMatchObject({ secure: true, tls: 'required', port: 465, localAddress: '192.0.2.7' })
})

test('a user without a password is still a login', () => {
  const target = smarthostTarget({ ...config, user: 'ann' }, source)
  expect(target.auth).toEqual({ user: 'ann', pass: '' })
})

test('the operator names the smarthost, and the capture receiver is ours: both are exempt from the guard', () => {
  expect(smarthostTarget(config, source).isExemptFromGuard).toBe(true)
  const capture = captureTarget({ host: '127.0.0.1', port: 20_001 }, 'us.example')
  expect(capture).toMatchObject({
    route: 'capture',
    port: 20_001,
    tls: 'off',
    auth: null,
    isExemptFromGuard: true,
  })
})
