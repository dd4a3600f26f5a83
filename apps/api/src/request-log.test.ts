import { createLogger } from '@valija/runtime'
import { expect, test } from 'vitest'
import { createRequestLog } from './request-log.ts'

test('the log of a request tells its id in each line, and is not made before the first', () => {
  const lines: string[] = []
  const log = createLogger({
    level: 'info',
    name: 'api',
    destination: { write: (line) => void lines.push(line) },
  })
  let made = 0
  const make = log.child.bind(log)
  log.child = ((...args: Parameters<typeof make>) => {
    made += 1
    return make(...args)
  }) as typeof log.child
  const requestLog = createRequestLog(log, { reqId: 'req_1' }, {})
  expect(made).toBe(0)
  requestLog.error({ err: new Error('boom') }, 'failed')
  requestLog.warn('refused')
  expect(made).toBe(1)
  expect(lines.map((line) => JSON.parse(line) as object)).toMatchObject([
    { level: 'error', reqId: 'req_1', err: { message: 'boom' }, msg: 'failed' },
    { level: 'warn', reqId: 'req_1', msg: 'refused' },
  ])
})
