/** Waiting for what gives no signal, and skipping what needs a program that is not there. */
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'

/** How often a condition is looked at. */
const STEP_MS = 10

/**
 * Looks until the probe gives something other than undefined, null or false, and returns that.
 * Fails with `what`, and the last answer or error, after timeoutMs.
 */
export async function until<T>(
  what: string,
  probe: () => T | Promise<T>,
  timeoutMs = 5_000,
): Promise<Exclude<T, undefined | null | false>> {
  const end = performance.now() + timeoutMs
  for (let last: unknown; ; await delay(STEP_MS)) {
    try {
      const seen = await probe()
      if (seen !== undefined && seen !== null && seen !== false)
        return seen as Exclude<T, undefined | null | false>
      last = seen
    } catch (error) {
      last = error
    }
    if (performance.now() > end)
      throw new Error(`not within ${timeoutMs} ms: ${what} (last: ${String(last)})`)
  }
}

/** The Debian package that brings each program which some tests need. */
const DEBIAN_PACKAGE: Record<string, string> = {
  'redis-server': 'redis-server',
  dovecot: 'dovecot-imapd dovecot-pop3d',
  chromium: 'chromium',
  psql: 'postgresql-client',
  openssl: 'openssl',
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
  const hint = `${program} is not installed (Debian: apt-get install ${DEBIAN_PACKAGE[program] ?? program})`
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
  const hint = `user 65534 cannot enter ${process.cwd()}: use a checkout in a folder that is open to all`
  if (process.env.REQUIRE_ALL === '1') throw new Error(`${hint}, and REQUIRE_ALL=1 allows no skip`)
  process.stderr.write(`skipped: ${hint}\n`)
  return true
}
