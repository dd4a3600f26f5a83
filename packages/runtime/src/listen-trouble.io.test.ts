import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { expect, test } from 'vitest'
import { whyNotListening } from './listen-trouble.ts'

const listener = { what: 'The API', variable: 'PORT' }

test('a port that is taken, and an address that the machine has not, are told with what to set', async () => {
  const first = createServer().listen(0, '127.0.0.1')
  await once(first, 'listening')
  const { port } = first.address() as AddressInfo
  const tell = async (host: string) => {
    const [error] = await once(createServer().listen(port, host), 'error').catch((cause) => [cause])
    return whyNotListening(error, { ...listener, host, port })
  }
  expect(await tell('127.0.0.1')).toBe(
    `Port ${port} on 127.0.0.1 is taken: stop the program that listens there, or set PORT to another one.`,
  )
  expect(await tell('192.0.2.1')).toBe('This machine has no address 192.0.2.1: set HOST to one that it has.')
  first.close()
})

test('a port that is not ours to open, and what nobody foresaw', () => {
  const place = { ...listener, host: '127.0.0.1', port: 80 }
  const told = (code: string) => whyNotListening(Object.assign(new Error('listen X'), { code }), place)
  expect(told('EACCES')).toMatch(/^Port 80 may not be opened by this user: set PORT to one above 1023/)
  expect(told('EMFILE')).toBe('The API cannot listen on 127.0.0.1 port 80: listen X.')
})
