/** Waiting for what gives no signal, and skipping what needs something that is not there. */
import { spawnSync } from 'node:child_process'
import { existsSync, globSync, mkdtempSync, rmdirSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'

/**
 * A condition is looked at every 10 ms at first, and then again after a tenth of the time that it has been waited for. A look is
 * often a request to the API, which costs milliseconds of the processor, and many tests wait at the same time.
 */
const STEP_MS = { first: 10, longest: 200 }
const STEP_SHARE = 0.1

/**
 * How long is waited for what comes, where no time is promised: long, since a wait that is too short for a busy machine says
 * nothing about the product, and only what never comes costs all of it.
 */
export const PATIENCE_MS = 60_000

/**
 * Looks until the probe gives something other than undefined, null or false, and returns that.
 * Fails with `what`, and the last answer or error, after timeoutMs.
 */
export async function until<T>(
  what: string,
  probe: () => T | Promise<T>,
  timeoutMs = PATIENCE_MS,
): Promise<Exclude<T, undefined | null | false>> {
  const beganAt = performance.now()
  for (let last: unknown; ; ) {
    try {
      const seen = await probe()
      if (seen !== undefined && seen !== null && seen !== false)
        return seen as Exclude<T, undefined | null | false>
      last = seen
    } catch (error) {
      last = error
    }
    const waitedMs = performance.now() - beganAt
    if (waitedMs > timeoutMs) throw new Error(`not within ${timeoutMs} ms: ${what} (last: ${String(last)})`)
    await delay(Math.min(Math.max(STEP_MS.first, waitedMs * STEP_SHARE), STEP_MS.longest))
  }
}

/** The Debian package that brings each program which some tests need. */
const DEBIAN_PACKAGE: Record<string, string> = {
  'redis-server': 'redis-server',
  dovecot: 'dovecot-imapd dovecot-pop3d',
  chromium: 'chromium',
  dkimverify: 'python3-dkim python3-nacl',
  opendkim: 'opendkim',
  psql: 'postgresql-client',
  openssl: 'openssl',
  postfix: 'postfix',
  'smtp-source': 'postfix',
  swaks: 'swaks libnet-ssleay-perl',
  'ldns-signzone': 'ldnsutils',
  faketime: 'faketime',
  prlimit: 'util-linux',
  exim4: 'exim4-daemon-light; beside Postfix as .ci/run does it',
}

const isInstalled = (program: string): boolean =>
  [...(process.env.PATH ?? '').split(':'), '/usr/sbin', '/usr/local/sbin'].some((folder) =>
    existsSync(path.join(folder, program)),
  )

/**
 * For `describe.skipIf(needsProgram('redis-server'))`: true, and one line that says what to install, when it is absent.
 * With REQUIRE_ALL=1 (continuous integration) an absent program is an error, so nothing is skipped unseen.
 */
export function needsProgram(program: string): boolean {
  if (isInstalled(program)) return false
  return skip(`${program} is not installed (Debian: apt-get install ${DEBIAN_PACKAGE[program] ?? program})`)
}

/** For tests in which Postfix logs in somewhere: true, and one line, where its library has no PLAIN. */
export function needsSaslPlain(): boolean {
  const isThere = ['/usr/lib', ...globSync('/usr/lib/*')].some((folder) =>
    existsSync(`${folder}/sasl2/libplain.so`),
  )
  return isThere ? false : skip('SASL PLAIN is not installed (Debian: apt-get install libsasl2-modules)')
}

/** For tests that start programs which change their user, or listen at ports below 1024: true, and one line, unless we are root. */
export function needsRoot(what: string): boolean {
  return process.getuid?.() === 0 ? false : skip(`${what} needs root`)
}

/** For tests that mount a file system of their own: true, and one line, where that is not allowed. */
export function needsMounts(what: string): boolean {
  const isAllowed = process.platform === 'linux' && process.getuid?.() === 0 && canMount()
  return isAllowed ? false : skip(`${what} needs Linux, and root that may mount file systems`)
}

/** Root in a container is often not allowed to. */
function canMount(): boolean {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'valija-mount-'))
  const isMounted = spawnSync('mount', ['-t', 'tmpfs', 'valija-test', folder]).status === 0
  if (isMounted) spawnSync('umount', [folder])
  rmdirSync(folder)
  return isMounted
}

function skip(hint: string): true {
  if (process.env.REQUIRE_ALL === '1') throw new Error(`${hint}, and REQUIRE_ALL=1 allows no skip`)
  process.stderr.write(`skipped: ${hint}\n`)
  return true
}

/**
 * For tests that run the product as an unprivileged user while they are root themselves: true, and one line, when that user cannot
 * enter the checkout (it lies in somebody's private folder), or when we are not root.
 */
export function needsEnterableCheckout(): boolean {
  if (process.getuid?.() !== 0) return true // then everything else runs unprivileged already
  const { status } = spawnSync(process.execPath, ['--eval', ''], { uid: 65534, gid: 65534 })
  if (status === 0) return false
  return skip(`user 65534 cannot enter ${process.cwd()}: use a checkout in a folder that is open to all`)
}
