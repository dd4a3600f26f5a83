/**
 * A Dovecot of the test's own (IMAP and POP3): configuration, users and mails in a temporary folder, on free ports. As root it runs as Debian's
 * package has it, else as whoever runs the tests. Ask `needsProgram('dovecot')` first.
 */
import { chmod, chown, mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { issueServer } from './issue-certificate.ts'
import { freePort } from './ports.ts'
import { startProcess } from './processes.ts'

export interface Dovecot {
  host: '127.0.0.1'
  /** In its certificate. */
  hostName: 'localhost'
  ports: { imap: number; imaps: number; pop3: number; pop3s: number }
  /** PEM: what its certificate is verified by. */
  ca: string
  /** A new user with an empty mailbox. */
  addUser: (name?: string) => Promise<DovecotUser>
  log: () => string[]
  /** SIGSTOP to all its processes, and SIGCONT: connected, and mute. */
  pause: () => void
  resume: () => void
  stop: () => Promise<void>
}

export interface DovecotUser {
  user: string
  password: string
  /** Puts a mail into INBOX, as a mail server does. */
  deliver: (text: string) => Promise<void>
  /** The texts of the mails in a folder. */
  mails: (folder?: string) => Promise<string[]>
  /** How many mails of INBOX nobody has read. */
  unseen: () => Promise<number>
  /** Gives INBOX another UIDVALIDITY: the same UIDs are other mails' names from then on. Nobody may have it open. */
  forgetUids: () => Promise<void>
}

/** Of every user. */
const password = 'the-password/of+the=tests'

/** Who owns the mails when the tests are root's. */
const nobody = 65_534

/** @param settings further lines of its configuration */
export async function startDovecot(settings: readonly string[] = []): Promise<Dovecot> {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'valija-dovecot-'))
  const at = (name: string) => path.join(folder, name)
  const isRoot = process.getuid?.() === 0
  const ports = {
    imap: await freePort(),
    imaps: await freePort(),
    pop3: await freePort(),
    pop3s: await freePort(),
  }
  const { key, cert } = await issueServer(['localhost'])
  await writeFile(at('key.pem'), key, { mode: 0o600 })
  await writeFile(at('cert.pem'), cert)
  await mkdir(at('mail'))
  await writeFile(at('dovecot.conf'), configuration(folder, ports, isRoot, settings))
  // Its processes are several users'.
  if (isRoot) await chmod(folder, 0o755)
  const server = startProcess('/usr/sbin/dovecot', ['-F', '-c', at('dovecot.conf')])
  const stop = async () => {
    await server.stop()
    await server.kill()
    await rm(folder, { recursive: true, force: true })
  }
  try {
    await server.line('starting up for imap, pop3')
  } catch (error) {
    await stop()
    throw error
  }
  let count = 0
  return {
    host: '127.0.0.1',
    hostName: 'localhost',
    ports,
    ca: cert,
    addUser: async (name = `user-${++count}`) => {
      return createUser(at(`mail/${name}`), { user: name, password }, isRoot)
    },
    log: () => server.lines,
    pause: () => void process.kill(-server.pid, 'SIGSTOP'),
    resume: () => void process.kill(-server.pid, 'SIGCONT'),
    stop,
  }
}

async function createUser(
  home: string,
  login: { user: string; password: string },
  isRoot: boolean,
): Promise<DovecotUser> {
  const maildir = path.join(home, 'Maildir')
  const folderOf = (name: string) =>
    name === 'INBOX' ? maildir : path.join(maildir, `.${name.replaceAll('/', '.')}`)
  const make = async (folder: string) => {
    await mkdir(folder, { recursive: true })
    if (isRoot) await chown(folder, nobody, nobody)
  }
  await make(home)
  for (const name of ['', 'cur', 'new', 'tmp']) await make(path.join(maildir, name))
  let count = 0
  return {
    ...login,
    deliver: async (text) => {
      const name = `${Date.now()}.${process.pid}_${++count}.test`
      const file = path.join(maildir, 'tmp', name)
      await writeFile(file, text.replaceAll(/\r?\n/g, '\n'))
      if (isRoot) await chown(file, nobody, nobody)
      await rename(file, path.join(maildir, 'new', name))
    },
    mails: async (folder = 'INBOX') => {
      for (;;) {
        const texts = await textsIn(folderOf(folder))
        if (texts !== null) return texts
      }
    },
    // A Maildir keeps flags behind the comma: S is \Seen.
    unseen: async () => {
      const names = [
        ...(await namesIn(path.join(maildir, 'new'))),
        ...(await namesIn(path.join(maildir, 'cur'))),
      ]
      return names.filter((name) => !/,[^,]*S[^,]*$/.test(name)).length
    },
    forgetUids: async () => {
      const list = path.join(maildir, 'dovecot-uidlist')
      const text = await readFile(list, 'utf8')
      // A lock that a session had is gone by itself.
      for (const name of await namesIn(maildir))
        if (name.startsWith('dovecot')) await rm(path.join(maildir, name), { recursive: true, force: true })
      // Left to itself it takes the second that it is now, which may be the same.
      await writeFile(
        list,
        text.replace(/ V(\d+) /, (_, validity: string) => ` V${Number(validity) + 1_000} `),
      )
      if (isRoot) await chown(list, nobody, nobody)
    },
  }
}

/** Null when a mail got another name meanwhile, as it does when it was looked at: what stands before the colon stays. */
async function textsIn(maildir: string): Promise<string[] | null> {
  const texts = new Map<string, string>()
  try {
    for (const part of ['new', 'cur'])
      for (const name of (await namesIn(path.join(maildir, part))).sort())
        texts.set(name.replace(/:.*/, ''), await readFile(path.join(maildir, part, name), 'utf8'))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
    throw error
  }
  return [...texts.values()]
}

async function namesIn(folder: string): Promise<string[]> {
  return readdir(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return []
    throw error
  })
}

function configuration(
  folder: string,
  ports: Dovecot['ports'],
  isRoot: boolean,
  settings: readonly string[],
): string {
  const self = os.userInfo()
  const internal = isRoot
    ? ''
    : `default_internal_user = ${self.username}\ndefault_internal_group = ${self.gid}\ndefault_login_user = ${self.username}`
  const [uid, gid] = isRoot ? [nobody, nobody] : [self.uid, self.gid]
  return `
protocols = imap pop3
listen = 127.0.0.1
base_dir = ${folder}/run
state_dir = ${folder}/state
log_path = /dev/stderr
${internal}
first_valid_uid = 1
ssl = yes
ssl_cert = <${folder}/cert.pem
ssl_key = <${folder}/key.pem
disable_plaintext_auth = no
auth_mechanisms = plain login
auth_failure_delay = 0
auth_cache_size = 0
passdb {
  driver = static
  args = password=${password}
}
userdb {
  driver = static
  args = uid=${uid} gid=${gid} home=${folder}/mail/%u
}
mail_location = maildir:~/Maildir
mail_max_userip_connections = 100
namespace inbox {
  inbox = yes
  separator = /
}
service imap-login {
  chroot =
  inet_listener imap {
    port = ${ports.imap}
  }
  inet_listener imaps {
    port = ${ports.imaps}
    ssl = yes
  }
}
service pop3-login {
  chroot =
  inet_listener pop3 {
    port = ${ports.pop3}
  }
  inet_listener pop3s {
    port = ${ports.pop3s}
    ssl = yes
  }
}
service anvil {
  chroot =
}
service stats {
  chroot =
}
${settings.join('\n')}
`
}
