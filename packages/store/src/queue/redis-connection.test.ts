/** REDIS_URL's forms, and what is refused: no I/O. */
import { describe, expect, test } from 'vitest'
import { parseRedisUrl, RedisUrlError } from './redis-connection.ts'

const plain = {
  kind: 'single',
  masterName: null,
  hasTls: false,
  username: null,
  password: null,
  sentinelUsername: null,
  sentinelPassword: null,
  db: 0,
}

describe('parseRedisUrl understands', () => {
  const samples: [url: string, target: object][] = [
    ['redis://localhost', { ...plain, hosts: [{ host: 'localhost', port: 6379 }] }],
    ['redis://localhost:7000/3', { ...plain, hosts: [{ host: 'localhost', port: 7000 }], db: 3 }],
    ['redis://localhost/', { ...plain, hosts: [{ host: 'localhost', port: 6379 }] }],
    ['redis://[::1]:7000', { ...plain, hosts: [{ host: '::1', port: 7000 }] }],
    [
      'rediss://me:p%40ss:w@r.example:6380',
      {
        ...plain,
        hosts: [{ host: 'r.example', port: 6380 }],
        hasTls: true,
        username: 'me',
        password: 'p@ss:w',
      },
    ],
    ['redis://:secret@h', { ...plain, hosts: [{ host: 'h', port: 6379 }], password: 'secret' }],
    [
      'redis+sentinel://:secret@s1,s2:26380/main?db=2&sentinel_password=other',
      {
        ...plain,
        kind: 'sentinel',
        hosts: [
          { host: 's1', port: 26379 },
          { host: 's2', port: 26380 },
        ],
        masterName: 'main',
        password: 'secret',
        sentinelPassword: 'other',
        db: 2,
      },
    ],
    [
      'rediss+cluster://n1:7000,n2',
      {
        ...plain,
        kind: 'cluster',
        hasTls: true,
        hosts: [
          { host: 'n1', port: 7000 },
          { host: 'n2', port: 6379 },
        ],
      },
    ],
  ]
  test.each(samples)('%s', (url, target) => {
    expect(parseRedisUrl(url)).toEqual(target)
  })
})

describe('parseRedisUrl refuses', () => {
  test.each([
    ['', 'not the URL'],
    ['localhost:6379', 'not the URL'],
    ['http://localhost', 'not the URL'],
    ['redis://', 'not the URL'],
    ['redis://a,b', 'several hosts'],
    ['redis://a:70000', 'host or port'],
    ['redis://a/main', 'no number'],
    ['redis+sentinel://s1,s2', "master's name"],
    ['redis+cluster://n1/2', 'only 0'],
    ['redis+cluster://n1?db=2', 'only 0'],
    ['redis://:%zz@a', 'percent-encoded'],
  ])('%s', (url, why) => {
    expect(() => parseRedisUrl(url)).toThrow(new RegExp(why))
  })

  test('and never shows the password', () => {
    for (const url of ['redis://:hunter2@a,b', 'redis://:hunter2@a:99999', 'http://:hunter2@a']) {
      expect(() => parseRedisUrl(url)).toThrow(RedisUrlError)
      expect(() => parseRedisUrl(url)).not.toThrow(/hunter2/)
    }
  })
})
