/** Who leads, and what the others can tell of a leader that is stopped: on a real PostgreSQL. */
import pg from 'pg'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { createDatabase } from '../../../tests/support/database.ts'
import { type Leadership, leaderBeatMs, openLeadership } from './leadership.ts'

let url: string
let drop: () => Promise<void>
let pool: pg.Pool
const opened: Leadership[] = []
const open = (name: string): Leadership => {
  const leadership = openLeadership(url, name, () => undefined)
  opened.push(leadership)
  return leadership
}

beforeAll(async () => {
  const made = await createDatabase()
  ;({ url, drop } = made)
  pool = new pg.Pool({ connectionString: url, max: 1 })
})
afterEach(async () => {
  await Promise.all(opened.splice(0).map((leadership) => leadership.close()))
})
afterAll(async () => {
  await pool.end()
  await drop()
})

/** Names whose lock numbers are above and below zero: the two halves of a lock's key are told apart by that. */
test.each(['dispatch', 'a', 'b', 'c', 'd'])(
  'one leads, and the other sees that it is there (%s)',
  async (name) => {
    const [leader, standby] = [open(name), open(name)]
    expect(await leader.isHeld()).toBe(true)
    expect(await standby.isHeld()).toBe(false)
    const { live, leaderQuietMs } = await standby.look()
    expect(live).toBe(2)
    expect(leaderQuietMs).toBeGreaterThanOrEqual(0)
    expect(leaderQuietMs).toBeLessThan(60_000)
  },
)

test('a leader that asks no more is quiet, until it asks again', async () => {
  const [leader, standby] = [open('dispatch'), open('dispatch')]
  await leader.isHeld()
  const quietMs = async () => (await standby.look()).leaderQuietMs ?? 0
  await expect.poll(quietMs, { timeout: 20_000 }).toBeGreaterThan(leaderBeatMs)
  const askedMs = performance.now()
  expect(await leader.isHeld()).toBe(true)
  const quiet = await quietMs()
  expect(quiet).toBeLessThanOrEqual(performance.now() - askedMs)
})

test('nobody leads once the leader has gone, and the next that asks does', async () => {
  const [leader, standby] = [open('dispatch'), open('dispatch')]
  await leader.isHeld()
  await standby.isHeld()
  await leader.close()
  await expect.poll(async () => (await standby.look()).leaderQuietMs).toBeNull()
  expect(await standby.isHeld()).toBe(true)
})

test('one that resigns leads no more, and the other does', async () => {
  const [leader, standby] = [open('dispatch'), open('dispatch')]
  await leader.isHeld()
  await standby.isHeld()
  await leader.resign()
  expect(await standby.isHeld()).toBe(true)
  expect(await leader.isHeld()).toBe(false)
})
