import { expect, test } from 'vitest'
import { ownRoutes, type SmarthostConfig } from './own-routes.ts'

const config: SmarthostConfig = { secure: false, host: 'relay.example', port: 587, user: null, pass: null }

function wayTo(smarthost: SmarthostConfig) {
  const routes = ownRoutes({ delivery: 'smarthost', smarthost, hasBounceDomain: false })
  return routes.get('smarthost')?.way
}

test('smtp:// takes whatever encryption there is, smtps:// a verified certificate', () => {
  expect(wayTo(config)).toMatchObject({ secure: false, tls: 'opportunistic', auth: null })
  expect(wayTo({ ...config, secure: true, port: 465 })).toMatchObject({
    secure: true,
    tls: 'required',
    port: 465,
  })
})

test('a user without a password is still a login', () => {
  expect(wayTo({ ...config, user: 'ann' })).toMatchObject({ auth: { user: 'ann', pass: '' } })
})

test('there is capture, and the way that is configured, and no other', () => {
  const names = (delivery: 'capture' | 'smarthost' | 'mx') => [
    ...ownRoutes({ delivery, smarthost: config, hasBounceDomain: true }).keys(),
  ]
  expect(names('capture')).toEqual(['capture'])
  expect(names('smarthost')).toEqual(['capture', 'smarthost'])
  expect(names('mx')).toEqual(['capture', 'mx'])
})
