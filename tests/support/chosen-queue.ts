/**
 * `VALIJA_TEST_QUEUE=redis|sentinel|cluster`: every end-to-end test has its queue there, whichever it names, and those that try
 * several try only this one. What is left as it is, is in one list here, with the reason.
 */
import path from 'node:path'
import { expect } from 'vitest'
import { type RedisKind, redisKinds } from './redis-topologies.ts'

/** Tests that keep the queue they name. */
const boundToTheirQueue: Record<string, string> = {
  't-03': 'has each kind of Redis by itself',
  't-78': 'cuts the way of one worker to one server, by a proxy with a URL of its own',
  't-83': 'has each kind of Redis by itself, and breaks each in ways that the others do not know',
}

function readChoice(): RedisKind | null {
  const text = process.env.VALIJA_TEST_QUEUE
  if (text === undefined || text === '') return null
  const kind = redisKinds.find((known) => known === text)
  if (kind === undefined) throw new Error(`VALIJA_TEST_QUEUE is one of ${redisKinds.join(', ')}, not ${text}`)
  return kind
}

const choice = readChoice()

/** Where the test file that runs now has its queue; null: where it says. Asked anew each time, since files share their modules. */
export function chosenQueue(): RedisKind | null {
  const name = path.basename(expect.getState().testPath ?? '').slice(0, 't-00'.length)
  return name in boundToTheirQueue ? null : choice
}
