import { expect, test } from 'vitest'
import { createHandOvers } from './hand-overs.ts'

/** The names of those whose dot may go, in order. */
function begin(most: number) {
  const handOvers = createHandOvers(most)
  const entered: string[] = []
  const enter = (name: string) => {
    const handOver = handOvers.begin()
    void handOver.enter().then(() => entered.push(name))
    return handOver
  }
  return { enter, entered }
}
const turn = () => new Promise<void>((resolve) => setImmediate(resolve))

test('no more are under way than may be, and whoever waits goes in order as others are on record', async () => {
  const { enter, entered } = begin(2)
  const [first, second] = [enter('a'), enter('b'), enter('c'), enter('d')]
  await turn()
  expect(entered).toEqual(['a', 'b'])
  first?.leave()
  first?.leave()
  await turn()
  expect(entered).toEqual(['a', 'b', 'c'])
  second?.leave()
  await turn()
  expect(entered).toEqual(['a', 'b', 'c', 'd'])
})

test('one that leaves while it waits takes no place, and does not wait on', async () => {
  const { enter, entered } = begin(1)
  const [first, second] = [enter('a'), enter('b'), enter('c')]
  second?.leave()
  await turn()
  expect(entered).toEqual(['a', 'b'])
  first?.leave()
  await turn()
  expect(entered).toEqual(['a', 'b', 'c'])
})
