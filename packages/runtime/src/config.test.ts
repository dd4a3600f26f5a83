import path from 'node:path'
import { describe, expect, test } from 'vitest'
import { ConfigError, type Environment, examineConfig, loadConfig, withSecrets } from './config.ts'
import { configurationPage, environmentExample } from './config-document.ts'
import { type Profile, variables } from './config-schema.ts'

/** What an API needs at least. */
const API = {
  DATABASE_URL: 'postgresql://valija:pw@db/valija',
  VALIJA_SECRET_KEY: 'a-secret-key-of-some-length',
  VALIJA_ADMIN_KEY: 'an-admin-key',
  VALIJA_DELIVERY: 'capture',
}

function faultsOf(env: Environment, profile: Profile = 'start'): Record<string, string> {
  try {
    loadConfig(env, profile)
    return {}
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    return Object.fromEntries(error.faults.map(({ name, message }) => [name, message]))
  }
}

describe('npm start', () => {
  test('needs no variable at all: capture, no database URL, loopback allowed', () => {
    expect(loadConfig({}, 'start')).toMatchObject({
      databaseUrl: null,
      redisUrl: null,
      host: '127.0.0.1',
      port: 3000,
      publicUrl: 'http://127.0.0.1:3000',
      delivery: 'capture',
      dataDir: path.resolve('.valija'),
      allowNetworks: ['127.0.0.0/8', '::1/128'],
      adminKey: null,
      secretKeys: [],
      messageTtlMs: { transactional: 86_400_000, bulk: 259_200_000 },
      retryScheduleMs: [60_000, 180_000, 480_000, 1_200_000, 3_600_000],
      maxMessageSizeBytes: 41_943_040,
      retentionContentMs: 30 * 86_400_000,
    })
  })

  test('takes the keys that it made, but never in place of those that the operator set', () => {
    const made = { adminKey: 'made-admin-key', secretKey: 'made-secret-key' }
    expect(withSecrets(loadConfig({}, 'start'), made)).toMatchObject({
      adminKey: 'made-admin-key',
      secretKeys: ['made-secret-key'],
    })
    const set = {
      VALIJA_ADMIN_KEY: 'operators-key',
      VALIJA_SECRET_KEY: 'new-key-of-the-operator,old-key-of-the-operator',
    }
    expect(withSecrets(loadConfig(set, 'start'), made)).toMatchObject({
      adminKey: 'operators-key',
      secretKeys: ['new-key-of-the-operator', 'old-key-of-the-operator'],
    })
  })
})

describe('required variables', () => {
  test.each<[Profile, string[]]>([
    ['start', []],
    ['api', ['DATABASE_URL', 'VALIJA_ADMIN_KEY', 'VALIJA_SECRET_KEY', 'VALIJA_DELIVERY']],
    ['worker', ['DATABASE_URL', 'VALIJA_SECRET_KEY', 'VALIJA_DELIVERY']],
    ['smtp', ['DATABASE_URL', 'VALIJA_SECRET_KEY', 'VALIJA_DELIVERY']],
    ['migrate', ['DATABASE_URL']],
    ['cli', []],
  ])('of %s are all named at once', (profile, names) => {
    expect(Object.keys(faultsOf({}, profile))).toEqual(names)
  })

  test('an empty variable is an absent one', () => {
    expect(Object.keys(faultsOf({ ...API, VALIJA_DELIVERY: '' }, 'api'))).toEqual(['VALIJA_DELIVERY'])
  })
})

describe('values', () => {
  test('are parsed with their units', () => {
    const config = loadConfig(
      {
        ...API,
        VALIJA_RETRY_SCHEDULE: '500ms, 1s,1.5m',
        VALIJA_MESSAGE_TTL: '1h,2d',
        VALIJA_MAX_MESSAGE_SIZE: '1.5MiB',
        VALIJA_TRUST_PROXY: '10.0.0.1,fd00::/8',
        VALIJA_DNS_SERVERS: '127.0.0.1:5353,[::1]:53,9.9.9.9',
        VALIJA_CORS_ORIGINS: 'https://app.example.com',
        VALIJA_PUBLIC_URL: 'https://mail.example.com/',
        VALIJA_EHLO_NAME: 'Mail.Example.COM',
        REDIS_URL: 'redis+cluster://one:7000,two:7000',
      },
      'api',
    )
    expect(config).toMatchObject({
      retryScheduleMs: [500, 1000, 90_000],
      messageTtlMs: { transactional: 3_600_000, bulk: 172_800_000 },
      maxMessageSizeBytes: 1_572_864,
      trustProxy: ['10.0.0.1/32', 'fd00::/8'],
      dnsServers: ['127.0.0.1:5353', '[::1]:53', '9.9.9.9'],
      corsOrigins: ['https://app.example.com'],
      publicUrl: 'https://mail.example.com',
      ehloName: 'mail.example.com',
      redisUrl: 'redis+cluster://one:7000,two:7000',
      allowNetworks: [],
    })
    expect(Object.isFrozen(config)).toBe(true)
  })

  test.each([
    ['smtp://127.0.0.1:2526', { secure: false, host: '127.0.0.1', port: 2526, user: null, pass: null }],
    [
      'smtp://relay.example.com',
      { secure: false, host: 'relay.example.com', port: 587, user: null, pass: null },
    ],
    ['smtps://a%40b:p%25%3A@[::1]', { secure: true, host: '::1', port: 465, user: 'a@b', pass: 'p%:' }],
  ])('smarthost %s', (text, smarthost) => {
    const env = { VALIJA_DELIVERY: 'smarthost', VALIJA_SMARTHOST_URL: text }
    expect(loadConfig(env, 'start').smarthost).toEqual(smarthost)
  })

  test.each([
    ['PORT', '0'],
    ['PORT', '65536'],
    ['PORT', '3e3'],
    ['LOG_LEVEL', 'loud'],
    ['HOST', 'a host'],
    ['DATABASE_URL', 'mysql://db/valija'],
    ['REDIS_URL', 'http://cache'],
    ['VALIJA_DELIVERY', 'pigeon'],
    ['VALIJA_SMARTHOST_URL', 'http://relay'],
    ['VALIJA_SECRET_KEY', 'short'],
    ['VALIJA_RETENTION_EVENTS', '90'],
    ['VALIJA_RETENTION_EVENTS', '0d'],
    ['VALIJA_RETRY_SCHEDULE', '1m,,2m'],
    ['VALIJA_MESSAGE_TTL', '1h,2h,3h'],
    ['VALIJA_MAX_MESSAGE_SIZE', '40 apples'],
    ['VALIJA_ALLOW_NETWORKS', '10.0.0.0/33'],
    ['VALIJA_TRUST_PROXY', 'everyone'],
    ['VALIJA_SOURCE_IPS', '192.0.2'],
    ['VALIJA_DNS_SERVERS', 'dns.example.com'],
    ['VALIJA_DNS_SERVERS', '9.9.9.9:0'],
    ['VALIJA_BOUNCE_DOMAIN', '-bad.example'],
    ['VALIJA_CORS_ORIGINS', 'https://app.example.com/path'],
    ['VALIJA_WORKER_CONCURRENCY', '0'],
    ['VALIJA_DRAIN_LIMIT', '29s'],
    ['VALIJA_DRAIN_LIMIT', '601s'],
    ['VALIJA_PUBLIC_URL', 'mail.example.com'],
  ])('%s=%s is refused', (name, value) => {
    expect(Object.keys(faultsOf({ [name]: value }))).toEqual([name])
  })

  test('of secret variables are in no fault', () => {
    const env = {
      VALIJA_ADMIN_KEY: 'hush',
      VALIJA_SMARTHOST_URL: 'ftp://u:hush@h',
      DATABASE_URL: 'x://u:hush@h',
    }
    const faults = faultsOf(env)
    expect(Object.keys(faults)).toHaveLength(3)
    expect(JSON.stringify(faults)).not.toContain('hush')
  })
})

describe('rules between variables', () => {
  test.each<[Environment, Profile, string[]]>([
    [{ VALIJA_DELIVERY: 'smarthost' }, 'start', ['VALIJA_SMARTHOST_URL']],
    [{ VALIJA_DELIVERY: 'mx' }, 'start', ['VALIJA_BOUNCE_DOMAIN']],
    [{ VALIJA_DELIVERY: 'mx' }, 'cli', []],
    [{ VALIJA_TLS_CERT: '/c.pem' }, 'start', ['VALIJA_TLS_KEY']],
    [{ ...API, VALIJA_SUBMISSIONS_PORT: '2465' }, 'smtp', ['VALIJA_TLS_CERT']],
    [{ VALIJA_SUBMISSIONS_PORT: '2465' }, 'start', []],
    [{ PORT: '2525' }, 'start', ['VALIJA_BOUNCE_PORT']],
    [{ ...API, PORT: '2525' }, 'api', []],
  ])('%j for %s: %j', (env, profile, names) => {
    expect(Object.keys(faultsOf(env, profile))).toEqual(names)
  })
})

describe('an examination', () => {
  test('gets the configuration of an environment without faults', () => {
    expect(examineConfig(API, 'api')).toEqual({ config: loadConfig(API, 'api'), faults: [] })
  })

  test('gets all faults, and the rest as if the faulty variables were not set', () => {
    const env = {
      ...API,
      PORT: 'x',
      VALIJA_MX_PROT: '1',
      VALIJA_TLS_KEY: 'k.pem',
      VALIJA_DELIVERY: 'smarthost',
    }
    const { config, faults } = examineConfig(env, 'api')
    const names = ['PORT', 'VALIJA_MX_PROT', 'VALIJA_SMARTHOST_URL', 'VALIJA_TLS_CERT']
    expect(faults.map(({ name }) => name).sort()).toEqual(names)
    expect(config).toMatchObject({
      port: 3000,
      tlsKey: null,
      delivery: 'smarthost',
      databaseUrl: API.DATABASE_URL,
    })
  })
})

describe('unknown variables', () => {
  test('that begin with VALIJA_ are refused, with the nearest known name', () => {
    expect(
      faultsOf({
        VALIJA_SMARTHOST: 'x',
        VALIJA_DELIVRY: 'mx',
        VALIJA_PROT: '1',
        VALIJA_FOO: '1',
        VALIJA_ZZZZZZZZZZZZZZZZZZ: '1',
      }),
    ).toEqual({
      VALIJA_SMARTHOST: 'there is no such variable; did you mean VALIJA_SMARTHOST_URL?',
      VALIJA_DELIVRY: 'there is no such variable; did you mean VALIJA_DELIVERY?',
      VALIJA_PROT: 'there is no such variable; did you mean PORT?',
      VALIJA_FOO: 'there is no such variable',
      VALIJA_ZZZZZZZZZZZZZZZZZZ: 'there is no such variable',
    })
  })

  test('of others are none of our business', () => {
    expect(faultsOf({ HOME: '/root', OTEL_TRACES_SAMPLER: 'always_on', npm_config_x: '1' })).toEqual({})
  })
})

test('the message lists every fault on a line', () => {
  expect(() => loadConfig({ PORT: 'x', VALIJA_DELIVERY: 'mx' }, 'start')).toThrow(
    [
      '2 variables are not right (see docs/configuration.md):',
      '  PORT: expected a whole number from 1 to 65535 (it is "x")',
      '  VALIJA_BOUNCE_DOMAIN: is required by VALIJA_DELIVERY=mx',
    ].join('\n'),
  )
})

test('every variable is in both documents', () => {
  for (const [, { name }] of variables) {
    expect(configurationPage()).toContain(`| \`${name}\` |`)
    expect(environmentExample()).toContain(`\n# ${name}=`)
  }
})
