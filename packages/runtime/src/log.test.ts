import { expect, test } from 'vitest'
import { createLogger, lineWriter, withoutSecrets } from './log.ts'

function logged(format: 'json' | 'readable', write: (log: ReturnType<typeof createLogger>) => void): string {
  const lines: string[] = []
  const destination = { write: (line: string) => void lines.push(line) }
  write(createLogger({ level: 'debug', name: 'api', destination, format }))
  return lines.join('')
}

const CANARY = 'CANARY-0123456789abcdef'

test('a line is one JSON object with time, level and process', () => {
  const line = JSON.parse(logged('json', (log) => log.info({ id: 'm1' }, 'accepted')))
  expect(line).toMatchObject({ level: 'info', name: 'api', pid: process.pid, id: 'm1', msg: 'accepted' })
  expect(line.time).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
})

test.each(['json', 'readable'] as const)(
  'no secret gets into the %s log, whichever way it comes',
  (format) => {
    const output = logged(format, (log) => {
      log.info({ authorization: CANARY, pass: CANARY, adminKey: CANARY, secretKeys: [CANARY] })
      log.info({ req: { headers: { authorization: CANARY, cookie: CANARY } }, smarthost: { pass: CANARY } })
      log.info(
        { url: `postgresql://valija:${CANARY}@db/valija` },
        `cannot reach redis://:${CANARY}@cache:6379/0`,
      )
      log.info(`smtps://user:p@${CANARY}@relay:465`)
      log.error({ err: new Error(`connect postgres://u:${CANARY}@h failed`) })
      log.info(`Authorization: Bearer ${CANARY}`)
      log.info(`key vlj_${CANARY}_000000 secret whsec_${CANARY}`)
      log.info(`-----BEGIN PRIVATE KEY-----\n${CANARY}\n-----END PRIVATE KEY-----`)
    })
    expect(output).not.toContain(CANARY)
    expect(output).toContain('@db/valija')
    expect(output).toContain('@relay:465')
  },
)

test('what is no secret stays as it is', () => {
  const text =
    'mailto:a@b.example http://h:80/p?q=a@b {"from":"Ann <a@b.example>","at":"2026-11-23T14:00:00.000Z"}'
  expect(withoutSecrets(text)).toBe(text)
})

test('the readable form has level, message, fields, and the stack of an error', () => {
  const output = logged('readable', (log) => {
    log.info({ id: 'm1', recipients: 2 }, 'accepted')
    log.error({ err: new Error('boom') }, 'failed')
    log.info({ err: new Error('minor') }, 'tried')
  })
  expect(output).toMatch(/Z info {2}accepted {2}id=m1 {2}recipients=2\n/)
  expect(output).toMatch(/Z error failed\nError: boom\n {4}at /)
  expect(output).toMatch(/Z info {2}tried {2}\(minor\)\n$/)
})

test('a line logger writes the same lines, and still cuts what looks like a secret', () => {
  const output = logged('json', (log) => lineWriter(log)({ id: 'm1', reply: `Bearer ${CANARY}` }, 'x'))
  expect(JSON.parse(output)).toMatchObject({ name: 'api', id: 'm1', msg: 'x' })
  expect(output).not.toContain(CANARY)
})
