/** Wake-ups between processes, and what becomes of them when the connection that hears them is lost: on a real PostgreSQL. */
import pg from 'pg'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { createDatabase, type TestDatabase } from '../../../tests/support/database.ts'
import { until } from '../../../tests/support/until.ts'
import { listenerName, openWake, type Wake, wakeTopics } from './wake.ts'

let made: TestDatabase
let pool: pg.Pool
const opened: Wake[] = []
const open = async (mark: string): Promise<Wake> => {
  const wake = await openWake(made.url, () => undefined, mark)
  opened.push(wake)
  return wake
}
/** Every wake-up that it hears, as `topic:payload`. */
const heardBy = (wake: Wake): string[] => {
  const heard: string[] = []
  for (const topic of wakeTopics) wake.on(topic, (payload) => heard.push(`${topic}:${payload}`))
  return heard
}

beforeAll(async () => {
  made = await createDatabase()
  pool = new pg.Pool({ connectionString: made.url, max: 1 })
})
afterEach(async () => {
  await Promise.all(opened.splice(0).map((wake) => wake.close()))
})
afterAll(async () => {
  await pool.end()
  await made.drop()
})

test('a wake-up reaches every process, with what was said', async () => {
  const [one, other] = [await open('one'), await open('other')]
  const [here, there] = [heardBy(one), heardBy(other)]
  one.send('keys', 'k1')
  await until('both have heard', () => here.length + there.length === 2)
  expect([here, there]).toEqual([['keys:k1'], ['keys:k1']])
})

test('a wake-up that is lost with its connection is made good: after the reconnect every listener is called once', async () => {
  const [deaf, other] = [await open('deaf'), await open('other')]
  const [heard, there] = [heardBy(deaf), heardBy(other)]
  // Its connection for sending is open from then on: what is lost is to be said before the reconnect.
  other.send('keys', 'first')
  await until('both have heard it', () => heard.length + there.length === 2)
  heard.length = 0
  there.length = 0
  const { rowCount } = await pool.query(
    'SELECT pg_terminate_backend(pid, 10_000) FROM pg_stat_activity WHERE application_name = $1',
    [`${listenerName} deaf`],
  )
  expect(rowCount).toBe(1)
  other.send('webhooks', 'lost')
  await until('the other has heard it', () => there.length === 1)
  await until('the reconnect', () => heard.length >= wakeTopics.length)
  expect(heard.toSorted()).toEqual(wakeTopics.map((topic) => `${topic}:`).toSorted())
  other.send('dispatch', 'again')
  await until('what is said then', () => heard.includes('dispatch:again'))
  expect(heard).toHaveLength(wakeTopics.length + 1)
})
