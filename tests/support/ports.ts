/**
 * Free TCP ports for the processes under test.
 *
 * Ports 10000 to 19999 lie below Linux's ephemeral range (32768 and up), so no outgoing connection takes one between
 * our look and the listener's bind; nor does a capture receiver, whose free ports begin at 20000. Test files run in parallel processes: each of those has a part of its own, or one would be given what another
 * has drawn and not bound yet.
 */
import net from 'node:net'

const PARTS = 4
const COUNT = 10_000 / PARTS
/** vitest counts its processes that run at the same time from 1; what runs without it is alone, in part 0. */
const FIRST = 10_000 + COUNT * (Number(process.env.VITEST_POOL_ID ?? 0) % PARTS)

/** Given out by this process already: a port may be free again while a test still believes that it has it. */
const taken = new Set<number>()

let next = FIRST + ((process.pid * 97) % COUNT)

function isFree(port: number): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>()
  const server = net.createServer().once('error', () => resolve(false))
  // exclusive: in a vitest worker a shared handle would hide that another worker listens
  server.listen({ port, host: '127.0.0.1', exclusive: true }, () => server.close(() => resolve(true)))
  return promise
}

/** A port on 127.0.0.1 with no listener, given out once per process. */
export async function freePort(): Promise<number> {
  for (let tries = 0; tries < COUNT; tries += 1) {
    const port = next
    next = port + 1 < FIRST + COUNT ? port + 1 : FIRST
    if (taken.has(port)) continue
    taken.add(port)
    if (await isFree(port)) return port
  }
  throw new Error(`no free port between ${FIRST} and ${FIRST + COUNT - 1}`)
}
