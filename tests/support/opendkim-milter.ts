/**
 * OpenDKIM as a filter of a mail server (a milter), verifying only: what it makes of every signature it writes into
 * `Authentication-Results`. It asks no DNS; the key records are given. Ask `needsProgram('opendkim')` first.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import net from 'node:net'
import os from 'node:os'
import path from 'node:path'
import type { DkimRecords } from './dkim-verifiers.ts'
import { freePort } from './ports.ts'
import { startProcess } from './processes.ts'
import { until } from './until.ts'

export type Milter = {
  /** As Postfix takes it. */
  address: string
  stop: () => Promise<void>
}

export async function startOpendkimMilter(authority: string, records: DkimRecords): Promise<Milter> {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'valija-milter-'))
  const port = await freePort()
  const keys = path.join(folder, 'keys')
  const config = path.join(folder, 'opendkim.conf')
  const settings = [
    `TestPublicKeys ${keys}`,
    `Socket inet:${port}@127.0.0.1`,
    'Mode v',
    `AuthservID ${authority}`,
    'AlwaysAddARHeader yes',
    'MinimumKeyBits 0',
    // Who connects from loopback is a customer to it, whose mail is not verified.
    'InternalHosts 192.0.2.1',
  ]
  await writeFile(config, settings.map((line) => `${line}\n`).join(''))
  await writeFile(
    keys,
    Object.entries(records)
      .map(([name, text]) => `${name} ${text}\n`)
      .join(''),
  )
  const milter = startProcess('/usr/sbin/opendkim', ['-f', '-x', config])
  const stop = async () => {
    await milter.stop()
    await rm(folder, { recursive: true, force: true })
  }
  try {
    await until(`OpenDKIM listens (${milter.lines.join('; ')})`, () => isListening(port), 20_000)
  } catch (error) {
    await stop()
    throw error
  }
  return { address: `inet:127.0.0.1:${port}`, stop }
}

function isListening(port: number): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>()
  const socket = net.connect(port, '127.0.0.1')
  socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
  return promise.finally(() => socket.destroy())
}
