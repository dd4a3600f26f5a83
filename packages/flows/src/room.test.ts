import { expect, test } from 'vitest'
import { createRoom, inRoom, type Room } from './room.ts'

const patienceMs = 60_000

/** The names of those that are in, in the order of their entering. */
function watch(room: Room) {
  const entered: string[] = []
  return {
    entered,
    enter: (name: string, owner: string, size: number) =>
      room.enter(owner, size).then((isIn) => isIn && entered.push(name)),
  }
}

test('there is never more in the room than fits, nobody is passed over, and what is too large has it alone', async () => {
  const room = createRoom({ total: 10, perOwner: 10, patienceMs })
  const { enter, entered } = watch(room)
  const all = [enter('a', 'x', 6), enter('large', 'y', 50), enter('b', 'z', 1)]
  await all[0]
  expect(entered).toEqual(['a'])
  room.leave('x', 6)
  await all[1]
  expect(entered).toEqual(['a', 'large'])
  room.leave('y', 50)
  await all[2]
  expect(entered).toEqual(['a', 'large', 'b'])
})

test('an owner that has its share keeps nobody else out, and goes on when it has given some back', async () => {
  const room = createRoom({ total: 10, perOwner: 6, patienceMs })
  const { enter, entered } = watch(room)
  const all = [enter('1', 'x', 5), enter('2', 'x', 5), enter('3', 'x', 1), enter('other', 'y', 4)]
  await Promise.all([all[0], all[2], all[3]])
  expect(entered).toEqual(['1', '3', 'other'])
  room.leave('x', 5)
  await all[1]
  expect(entered.at(-1)).toBe('2')
})

test('one thing an owner may have, however large, when there is room', async () => {
  const room = createRoom({ total: 10, perOwner: 6, patienceMs })
  const { enter, entered } = watch(room)
  await enter('large', 'x', 9)
  expect(entered).toEqual(['large'])
})

test('whoever finds no room in time is told so, and those behind it are let in', async () => {
  const room = createRoom({ total: 10, perOwner: 10, patienceMs: 30 })
  expect(await room.enter('x', 8)).toBe(true)
  const late = room.enter('y', 5)
  const behind = room.enter('z', 2)
  expect([await late, await behind]).toEqual([false, true])
})

test('work waits for its turn without end, and gives its place back however it ends', async () => {
  const room = createRoom({ total: 1, perOwner: 1, patienceMs: null })
  const order: string[] = []
  const work = (name: string) => async () => void order.push(name)
  const all = [
    inRoom(room, 'x', 1, async () => {
      await new Promise((resolve) => setTimeout(resolve, 20))
      throw new Error('failed')
    }).catch(work('failed')),
    inRoom(room, 'x', 1, work('second')),
    inRoom(room, 'y', 1, work('third')),
  ]
  await Promise.all(all)
  expect(order.toSorted()).toEqual(['failed', 'second', 'third'])
})
