/**
 * A Postfix of the test's own: configuration, queue and mails in a temporary folder, on an address of its own, everything of the
 * installed one left alone. It takes mail for every domain, over TLS or in plaintext, into one Maildir, and believes nothing of the
 * DNS (it asks none). Must be started as root; ask `needsProgram('postfix')` first.
 *
 * Set to be as lenient with line ends as Postfix was before the protection against SMTP smuggling (CVE-2023-51764): a line may end
 * in LF alone, also the one with the dot.
 */
import { execFile } from 'node:child_process'
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'
import { issueServer } from './issue-certificate.ts'
import { type MailServer, maildirReader, readLines, untilLogged } from './mail-server.ts'
import { startProcess } from './processes.ts'

export type PostfixOptions = {
  host: string
  port: number
  hostName: string
  /** Largest mail in octets; 10 MB when absent. */
  maxMailBytes?: number
  /** Address of a milter: `inet:127.0.0.1:20000`. */
  milter?: string
  /** Nothing is delivered here: everything is handed on, with a login over TLS (Debian: libsasl2-modules), else in plaintext. */
  relay?: { host: string; port: number; login?: { user: string; password: string } }
  /** Further addresses on the same port, each with EHLO keywords that are left out there: `{ '127.0.9.9': 'size, chunking' }`. */
  withoutKeywords?: Record<string, string>
}

/** Who delivers into the Maildir; not root, which virtual(8) would refuse. */
const nobody = 65534

/** master(5): every service not chrooted, so that nothing of the system need be copied into the queue folder. */
const services = [
  'pickup unix n - n 60 1 pickup',
  'cleanup unix n - n - 0 cleanup',
  'qmgr unix n - n 300 1 qmgr',
  'tlsmgr unix - - n 1000? 1 tlsmgr',
  'rewrite unix - - n - - trivial-rewrite',
  'bounce unix - - n - 0 bounce',
  'defer unix - - n - 0 bounce',
  'trace unix - - n - 0 bounce',
  'verify unix - - n - 1 verify',
  'flush unix n - n 1000? 0 flush',
  'proxymap unix - - n - - proxymap',
  'showq unix n - n - - showq',
  'error unix - - n - - error',
  'retry unix - - n - - error',
  'discard unix - - n - - discard',
  'virtual unix - n n - - virtual',
  'smtp unix - - n - - smtp',
  'anvil unix - - n - 1 anvil',
  'postlog unix-dgram n - n - 1 postlogd',
]

export async function startPostfix(options: PostfixOptions): Promise<MailServer> {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'valija-postfix-'))
  await chmod(folder, 0o755)
  const at = (name: string) => path.join(folder, name)
  for (const name of ['etc', 'queue', 'data', 'log', 'mails']) await mkdir(at(name))
  await run('chown', ['postfix', at('data')])
  await run('chown', [`${nobody}`, at('mails')])
  const { key, cert } = await issueServer([options.hostName])
  await writeFile(at('etc/key.pem'), key, { mode: 0o600 })
  await writeFile(at('etc/cert.pem'), cert)
  await writeFile(at('etc/main.cf'), mainCf(options, folder))
  await writeFile(at('etc/master.cf'), `${masterLines(options).join('\n')}\n`)
  await run('/usr/sbin/postfix', ['-c', at('etc'), 'check']) // makes the queue's folders
  const { stdout: programs } = await run('/usr/sbin/postconf', ['-h', 'daemon_directory'])
  // In the foreground and in our process group; `postfix start-fg` would leave it behind.
  const server = startProcess(path.join(programs.trim(), 'master'), ['-c', at('etc'), '-s'])
  const log = () => readLines(at('log/mail'))
  const stop = async () => {
    await server.stop()
    await server.kill()
    await rm(folder, { recursive: true, force: true })
  }
  try {
    await untilLogged(log, 'daemon started')
  } catch (error) {
    await stop()
    throw error
  }
  return {
    name: 'Postfix',
    host: options.host,
    hostName: options.hostName,
    port: options.port,
    process: server,
    ...maildirReader(at('mails/all')),
    queued: async () => {
      const { stdout } = await run('/usr/sbin/postqueue', ['-c', at('etc'), '-j'])
      return stdout.split('\n').filter((line) => line.startsWith('{')).length
    },
    log,
    stop,
  }
}

function relaySettings({ host, port, login }: NonNullable<PostfixOptions['relay']>) {
  return {
    relayhost: `[${host}]:${port}`,
    mynetworks: '127.0.0.0/8',
    virtual_mailbox_domains: '',
    smtpd_relay_restrictions: 'permit_mynetworks, reject',
    ...(login && {
      smtp_tls_security_level: 'encrypt',
      smtp_sasl_auth_enable: 'yes',
      smtp_sasl_password_maps: `static:${login.user}:${login.password}`,
      smtp_sasl_security_options: 'noanonymous',
    }),
  }
}

function mainCf(
  { hostName, maxMailBytes = 10_000_000, milter, relay }: PostfixOptions,
  folder: string,
): string {
  const settings: Record<string, string | number> = {
    compatibility_level: '3.6',
    queue_directory: path.join(folder, 'queue'),
    data_directory: path.join(folder, 'data'),
    // /dev/stdout cannot be opened by its name where it is one of Node's pipes (they are sockets).
    maillog_file: path.join(folder, 'log/mail'),
    maillog_file_prefixes: path.join(folder, 'log'),
    myhostname: hostName,
    inet_protocols: 'ipv4',
    disable_dns_lookups: 'yes',
    smtpd_peername_lookup: 'no',
    mynetworks: '',
    mydestination: '',
    alias_maps: '',
    alias_database: '',
    local_recipient_maps: '',
    virtual_mailbox_domains: 'static:all',
    virtual_mailbox_maps: 'static:all/',
    virtual_mailbox_base: path.join(folder, 'mails'),
    virtual_uid_maps: `static:${nobody}`,
    virtual_gid_maps: `static:${nobody}`,
    smtpd_relay_restrictions: 'permit_auth_destination, reject',
    smtpd_tls_security_level: 'may',
    smtpd_tls_cert_file: path.join(folder, 'etc/cert.pem'),
    smtpd_tls_key_file: path.join(folder, 'etc/key.pem'),
    smtpd_tls_received_header: 'yes',
    smtpd_forbid_bare_newline: 'no',
    smtpd_forbid_unauth_pipelining: 'no',
    message_size_limit: maxMailBytes,
    notify_classes: '',
    // It would slow senders down when mails come faster than they are delivered.
    in_flow_delay: 0,
    ...(relay && relaySettings(relay)),
    ...(milter && { smtpd_milters: milter, milter_default_action: 'tempfail' }),
  }
  return Object.entries(settings)
    .map(([name, value]) => `${name} = ${value}\n`)
    .join('')
}

function masterLines({ host, port, withoutKeywords = {} }: PostfixOptions): string[] {
  const others = Object.entries(withoutKeywords).map(
    ([address, keywords]) =>
      `${address}:${port} inet n - n - - smtpd -o { smtpd_discard_ehlo_keywords = ${keywords} }`,
  )
  return [`${host}:${port} inet n - n - - smtpd`, ...others, ...services]
}

const run = (command: string, args: string[]) => promisify(execFile)(command, args)
