/**
 * DKIM signatures verified by programs that had no part in making them: mailauth (Node), dkimpy and OpenDKIM (both from Debian).
 * None of them asks the DNS: they are given the key records, or a DNS server of the test.
 */
import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'
import { dkimVerify } from 'mailauth/lib/dkim/verify.js'
import { needsProgram } from './until.ts'

/** Key records by name: `sel._domainkey.example.test` → `v=DKIM1; …`. */
export type DkimRecords = Readonly<Record<string, string>>

/** What a verifier says of each signature of a mail, from the top: `rsa-sha256: pass`. */
export type Verdicts = string[]

export type DkimVerifier = {
  verifier: string
  isAbsent: boolean
  verify: (mails: readonly Buffer[], records: DkimRecords) => Promise<Verdicts[]>
}

/** `describe.each(dkimVerifiers)`, with `describe.skipIf(isAbsent)`. OpenDKIM is asked apart: it tells of a mail as a whole. */
export function dkimVerifiers(): DkimVerifier[] {
  return [
    { verifier: 'mailauth', isAbsent: false, verify: verifyByMailauth },
    { verifier: 'dkimpy', isAbsent: needsProgram('dkimverify'), verify: verifyByDkimpy },
  ]
}

export const bothPass: Verdicts = ['rsa-sha256: pass', 'ed25519-sha256: pass']

export async function verifyByMailauth(mails: readonly Buffer[], records: DkimRecords): Promise<Verdicts[]> {
  const resolver = async (name: string): Promise<string[][]> => {
    const text = records[name]
    if (text !== undefined) return [text.match(/.{1,255}/g) ?? []]
    throw Object.assign(new Error(`queryTxt ENOTFOUND ${name}`), { code: 'ENOTFOUND' })
  }
  const verdicts: Verdicts[] = []
  for (const mail of mails) {
    const { results } = await dkimVerify(mail, { resolver, strict: true })
    verdicts.push(
      results
        .filter(({ signature }) => signature !== undefined)
        .map(({ algo, status }) => {
          const comment = status.result === 'pass' || !status.comment ? '' : ` (${status.comment})`
          return `${algo}: ${status.result}${comment}`
        }),
    )
  }
  return verdicts
}

/** Debian's Python, whatever other one is first in the PATH: python3-dkim belongs to it. */
const debiansPython = '/usr/bin/python3'

export async function verifyByDkimpy(mails: readonly Buffer[], keys: DkimRecords): Promise<Verdicts[]> {
  const script = path.join(import.meta.dirname, 'verify-dkim.py')
  const running = promisify(execFile)(debiansPython, [script], { maxBuffer: 64 * 1024 * 1024 })
  running.child.stdin?.end(JSON.stringify({ keys, mails: mails.map((mail) => mail.toString('base64')) }))
  return JSON.parse((await running).stdout) as Verdicts[]
}

/**
 * Lets `opendkim -t` look at each mail.
 *
 * @returns what it prints of each: `verification (s=…, d=…, 2048-bit key, …) succeeded` where its first signature is right
 */
export async function verifyByOpendkim(mails: readonly Buffer[], records: DkimRecords): Promise<string[]> {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'valija-dkim-'))
  try {
    const keys = path.join(folder, 'keys')
    const config = path.join(folder, 'opendkim.conf')
    await writeFile(
      keys,
      Object.entries(records)
        .map(([name, text]) => `${name} ${text}\n`)
        .join(''),
    )
    await writeFile(config, `TestPublicKeys ${keys}\nMode v\nMinimumKeyBits 0\n`)
    const said: string[] = []
    for (const [i, mail] of mails.entries()) {
      const file = path.join(folder, `${i}.eml`)
      await writeFile(file, mail)
      const run = promisify(execFile)('/usr/sbin/opendkim', ['-x', config, '-t', file])
      const { stdout, stderr } = await run.catch((error: { stdout: string; stderr: string }) => error)
      said.push(`${stdout}${stderr}`.replaceAll(file, 'mail').trim())
    }
    return said
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}
