/**
 * An Exim of the test's own: configuration, spool and mails in a temporary folder, on an address of its own. It takes mail for
 * every domain into one Maildir. Must be started as root; ask `needsProgram('exim4')` first.
 *
 * Debian's packages of Exim and Postfix exclude each other, but of Exim the one program is enough (`.ci/run` takes it out of
 * its package), with the user that it is built to run as.
 */
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { chown, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'
import { issueServer } from './issue-certificate.ts'
import { type MailServer, maildirReader, readLines, untilLogged } from './mail-server.ts'
import { startProcess } from './processes.ts'

export type EximOptions = {
  host: string
  port: number
  hostName: string
  /** Largest mail in octets; 10 MB when absent. */
  maxMailBytes?: number
}

export async function startExim(options: EximOptions): Promise<MailServer> {
  const program = ['/usr/local/sbin/exim4', '/usr/sbin/exim4'].find((file) => existsSync(file)) ?? 'exim4'
  const [uid, gid] = [await idOf('-u'), await idOf('-g')]
  const folder = await mkdtemp(path.join(os.tmpdir(), 'valija-exim-'))
  const at = (name: string) => path.join(folder, name)
  for (const name of ['spool', 'log', 'mails']) await mkdir(at(name))
  const { key, cert } = await issueServer([options.hostName])
  await writeFile(at('key.pem'), key, { mode: 0o600 })
  await writeFile(at('cert.pem'), cert)
  for (const name of ['', 'spool', 'log', 'mails', 'key.pem']) await chown(at(name), uid, gid)
  // Root's: Exim takes no configuration that others could have written.
  await writeFile(at('exim.conf'), configuration(options, folder, program))
  const args = ['-C', at('exim.conf')]
  const server = startProcess(program, [...args, '-bdf', '-q10s'], { uid, gid })
  const log = () => readLines(at('log/main'))
  const stop = async () => {
    await server.stop()
    await server.kill()
    await rm(folder, { recursive: true, force: true })
  }
  try {
    await untilLogged(log, 'listening for SMTP')
  } catch (error) {
    await stop()
    throw error
  }
  return {
    name: 'Exim',
    host: options.host,
    hostName: options.hostName,
    port: options.port,
    process: server,
    ...maildirReader(at('mails')),
    queued: async () => {
      const { stdout } = await promisify(execFile)(program, [...args, '-bpc'], { uid, gid })
      return Number(stdout)
    },
    log,
    stop,
  }
}

function configuration(
  { host, port, hostName, maxMailBytes = 10_000_000 }: EximOptions,
  folder: string,
  program: string,
): string {
  return `
primary_hostname = ${hostName}
exim_path = ${program}
spool_directory = ${folder}/spool
log_file_path = ${folder}/log/%s
pid_file_path = ${folder}/exim.pid
keep_environment =
local_interfaces = ${host}
daemon_smtp_ports = ${port}
tls_certificate = ${folder}/cert.pem
tls_privatekey = ${folder}/key.pem
tls_advertise_hosts = *
dsn_advertise_hosts = *
message_size_limit = ${maxMailBytes}
smtp_accept_max = 100
# By default the eleventh mail of a connection waits for the next queue run.
smtp_accept_queue_per_connection = 0
rfc1413_query_timeout = 0s
acl_smtp_rcpt = recipient
acl_smtp_data = mail

begin acl
recipient:
  accept
    control = dkim_disable_verify

mail:
  accept

begin routers
everybody:
  driver = accept
  transport = maildir

begin transports
maildir:
  driver = appendfile
  directory = ${folder}/mails
  maildir_format
  return_path_add
  envelope_to_add
`
}

/** Exim is built to run as this user, and does not start on a machine that lacks it. */
async function idOf(flag: '-u' | '-g'): Promise<number> {
  const { stdout } = await promisify(execFile)('id', [flag, 'Debian-exim'])
  return Number(stdout)
}
