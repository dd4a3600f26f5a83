import { PassThrough } from 'node:stream'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { type BodyGate, GatedBody } from './gated-body.ts'

const open: BodyGate = { mayBegin: () => true, mayEnd: () => true, unsentBytes: () => 0 }

/** Pipes a body into a transform and keeps what comes out. */
function run(bytes: Buffer, gate: Partial<BodyGate>) {
  const out = new PassThrough()
  const chunks: Buffer[] = []
  let hasEnded = false
  out.on('data', (chunk: Buffer) => chunks.push(chunk))
  out.on('end', () => {
    hasEnded = true
  })
  new GatedBody(bytes, { ...open, ...gate }).pipe(out)
  return {
    text: () => Buffer.concat(chunks).toString(),
    hasEnded: () => hasEnded,
  }
}

test('the body goes through whole, and ends', async () => {
  const bytes = Buffer.from('x'.repeat(1_000_000))
  const sent = run(bytes, {})
  await expect.poll(sent.hasEnded).toBe(true)
  expect(sent.text() === bytes.toString()).toBe(true)
})

test('not a byte passes a gate that is closed', async () => {
  const sent = run(Buffer.from('x'), { mayBegin: () => false })
  for (let i = 0; i < 50; i += 1) await nextTurn()
  expect(sent.text()).toBe('')
  expect(sent.hasEnded()).toBe(false)
})

test('permission to end is asked only once the kernel has every byte', async () => {
  const unsent = [70_000, 70_000, 1, 0]
  const asked: number[] = []
  const sent = run(Buffer.from('x'), {
    unsentBytes: () => unsent.shift() ?? 0,
    mayEnd: () => {
      asked.push(unsent.length)
      return true
    },
  })
  await expect.poll(sent.hasEnded).toBe(true)
  expect(asked).toEqual([0])
})

test('a connection that is gone ends the wait, without an end to the mail', async () => {
  let looks = 0
  const sent = run(Buffer.from('x'), {
    unsentBytes: () => {
      looks += 1
      return looks < 3 ? 1 : null
    },
  })
  for (let i = 0; i < 50; i += 1) await nextTurn()
  expect(looks).toBe(3)
  expect(sent.hasEnded()).toBe(false)
})
