/**
 * Unbound as a validating resolver: it serves zones of the test from its own files, checks their signatures as if they had come
 * from elsewhere, and asks nobody. Ask `needsProgram('unbound')` and `needsProgram('ldns-signzone')` first.
 *
 *     const resolver = await startUnbound({
 *       signed: ['acme IN MX 10 mx.acme', 'mx.acme IN A 127.0.1.2'],           // the zone `test.`, signed; trusted by the resolver
 *       unsigned: { plain: ['@ IN MX 10 mx.acme.test.'] },                     // plain.test, which the zone above it says is not signed
 *       bogus: { broken: ['@ IN MX 10 mx.acme.test.'] },                       // broken.test, which ought to be signed and is not
 *     })
 */
import { execFile } from 'node:child_process'
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'
import { freePort } from './ports.ts'
import { startProcess } from './processes.ts'

export type Zones = {
  signed: readonly string[]
  unsigned: Readonly<Record<string, readonly string[]>>
  bogus: Readonly<Record<string, readonly string[]>>
}

export type Unbound = {
  /** `ip:port`, as VALIJA_DNS_SERVERS takes it. */
  address: string
  stop: () => Promise<void>
}

export async function startUnbound({ signed, unsigned, bogus }: Zones): Promise<Unbound> {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'valija-unbound-'))
  const inFolder = (command: string, args: string[]) => promisify(execFile)(command, args, { cwd: folder })
  await inFolder('ldns-keygen', ['-k', '-a', 'ECDSAP256SHA256', 'test'])
  const keys = (await readdir(folder)).find((name) => name.endsWith('.ds'))?.replace(/\.ds$/, '') ?? ''
  const delegations = [
    ...Object.keys(unsigned).map((name) => `${name} IN NS ns`),
    // A digest of no key: whoever validates cannot be content with anything below.
    ...Object.keys(bogus).flatMap((name) => [
      `${name} IN NS ns`,
      `${name} IN DS 12345 13 2 ${'b'.repeat(64)}`,
    ]),
  ]
  await writeFile(path.join(folder, 'test.zone'), zoneText('test', [...signed, ...delegations]))
  await inFolder('ldns-signzone', ['test.zone', keys])
  const below = Object.entries({ ...unsigned, ...bogus })
  for (const [name, records] of below) {
    await writeFile(path.join(folder, `${name}.zone`), zoneText(`${name}.test`, records))
  }
  const port = await freePort()
  const zones = [
    ['test', 'test.zone.signed'],
    ...below.map(([name]) => [`${name}.test`, `${name}.zone`]),
  ] as [string, string][]
  await writeFile(path.join(folder, 'unbound.conf'), configuration(folder, port, `${keys}.ds`, zones))
  const server = startProcess('/usr/sbin/unbound', ['-d', '-c', path.join(folder, 'unbound.conf')])
  const stop = async () => {
    await server.stop()
    await rm(folder, { recursive: true, force: true })
  }
  await server.line('start of service').catch(async (error) => {
    await stop()
    throw error
  })
  return { address: `127.0.0.1:${port}`, stop }
}

function zoneText(origin: string, records: readonly string[]): string {
  const head = [
    `$ORIGIN ${origin}.`,
    '$TTL 1',
    '@ IN SOA ns host 1 3600 600 86400 1',
    '@ IN NS ns',
    'ns IN A 127.0.0.1',
  ]
  return [...head, ...records].map((line) => `${line}\n`).join('')
}

function configuration(
  folder: string,
  port: number,
  anchor: string,
  zones: readonly [string, string][],
): string {
  const server = `
server:
  interface: 127.0.0.1@${port}
  do-daemonize: no
  use-syslog: no
  logfile: ""
  pidfile: ""
  chroot: ""
  username: ""
  directory: "${folder}"
  # Nobody is asked for anything but what is in the zones below.
  local-zone: "." refuse
  local-zone: "test." transparent
  module-config: "validator iterator"
  trust-anchor-file: "${anchor}"
remote-control:
  control-enable: no
`
  const ofZone = ([name, file]: readonly [string, string]) => `
auth-zone:
  name: "${name}."
  zonefile: "${file}"
  for-downstream: no
  for-upstream: yes
`
  return server + zones.map(ofZone).join('')
}
