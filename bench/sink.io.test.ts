import { once } from 'node:events'
import net from 'node:net'
import { afterEach, expect, test } from 'vitest'
import { freePort } from '../tests/support/ports.ts'
import type { Tally } from './ledger.ts'
import { type Program, startProgram } from './program.ts'

const [well, bad] = ['127.0.0.1', '127.0.0.2']
let sink: Program
let port: number

async function startSink(areUncountedSilent: boolean): Promise<void> {
  port = await freePort()
  const plain = { roundTripMs: 0, tls: false, pauseMs: 0 }
  const options = { ...plain, hosts: [well, bad], uncounted: [bad], areUncountedSilent }
  sink = startProgram('sink.ts', [`${port}`, JSON.stringify(options)])
  await sink.ask('ready')
}

afterEach(() => sink.end())

/** Hands a mail in. @returns what the sink said after the dot; null: it ended the connection instead */
async function handIn(host: string, number: number): Promise<string | null> {
  const socket = net.connect({ host, port })
  const hear = async () => String((await once(socket, 'data'))[0])
  await hear()
  socket.write('EHLO x\r\n')
  await hear()
  socket.write('MAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\n')
  await hear()
  socket.write(`X-Ledger: ${String(number).padStart(8, '0')}\r\n\r\nhello\r\n.\r\n`)
  try {
    return await Promise.race([hear(), once(socket, 'close').then(() => null)])
  } finally {
    socket.destroy()
  }
}

test('hosts apart are answered and not counted, and the run is complete without them', async () => {
  await startSink(false)
  await sink.ask('expect', { first: 10, count: 2, coming: 1 })
  expect(await handIn(bad, 11)).toMatch(/^250/)
  expect(await handIn(well, 10)).toMatch(/^250/)
  expect(await sink.ask<Tally>('complete')).toMatchObject({ distinct: 1, doubled: 0, foreign: 0 })
  expect(await sink.ask('connections')).toBe(2)
})

test('a silent host says nothing after the dot until it lets go, and then takes nothing more', async () => {
  await startSink(true)
  await sink.ask('expect', { first: 10, count: 2, coming: 1 })
  let answer: string | null | undefined
  const held = handIn(bad, 11).then((said) => {
    answer = said
  })
  expect(await handIn(well, 10)).toMatch(/^250/)
  expect(answer).toBeUndefined()
  await sink.ask('release')
  await held
  expect(answer).toBeNull()
  const late = net.connect({ host: bad, port })
  await once(late, 'close')
  expect(await sink.ask('connections')).toBe(3)
})
