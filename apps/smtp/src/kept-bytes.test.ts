import { Readable } from 'node:stream'
import { expect, test } from 'vitest'
import { createKeptBytes } from './kept-bytes.ts'

const streamOf = (...parts: string[]) => Readable.from(parts.map((part) => Buffer.from(part)))

test('the beginning of a mail is kept, and the rest read to its end', async () => {
  const stream = streamOf('abc', 'def', 'ghi')
  expect((await createKeptBytes(100).read(stream, 4))?.toString()).toBe('abcd')
  expect(stream.readableEnded).toBe(true)
})

test('what is beyond the room of all is not kept, and read to its end too; what is given back makes room', async () => {
  const room = createKeptBytes(10)
  const first = await room.read(streamOf('12345678'), 100)
  const stream = streamOf('ab', 'cd')
  expect(await room.read(stream, 100)).toBeNull()
  expect(stream.readableEnded).toBe(true)
  room.release(first!)
  expect((await room.read(streamOf('1234567890'), 100))?.length).toBe(10)
})

test('a mail that breaks off leaves nothing behind', async () => {
  const room = createKeptBytes(10)
  const broken = async function* () {
    yield Buffer.from('12345678')
    throw new Error('gone')
  }
  await expect(room.read(broken(), 100)).rejects.toThrow('gone')
  expect((await room.read(streamOf('1234567890'), 100))?.length).toBe(10)
})

test('large mails leave room for small ones', async () => {
  const room = createKeptBytes(1024 * 1024)
  const half = Buffer.alloc(512 * 1024)
  const streamOfHalf = () => Readable.from([half])
  expect((await room.read(streamOfHalf(), half.length))?.length).toBe(half.length)
  expect(await room.read(streamOfHalf(), half.length)).toBeNull()
  expect((await room.read(streamOf('small'), 100))?.toString()).toBe('small')
})
