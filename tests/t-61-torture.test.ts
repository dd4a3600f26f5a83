/**
 * The short form of `npm run torture` (docs/torture.md): kills of everything that can be killed, a flush, pauses, deaths at crash
 * points, and ledgers that must agree. Only guarantees are asked for here, never speeds.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { expect, test } from 'vitest'
import { startNode } from './support/processes.ts'
import { needsProgram } from './support/until.ts'

/** The seed's plan has every fault that is looked for below; the pause beyond a lease is in its first round, so that its end comes soonest. */
const arguments_ =
  '--seed 2428 --rounds 4 --round-seconds 4 --rate 12 --clients 32 --drain-seconds 240'.split(' ')
/** A site that drips is given up after a minute: that is for the long form. */
const faults = 'api,worker,redis,postgres,flush,pause,points,sink'

type Figures = { faults: Record<string, number>; verdict: { accepted: { recipients: number } } }

// One after the other: both at a time take the processor from all files beside them.
test('whatever is killed, flushed or stopped, every accepted mail comes to one end, and comes twice only where it had to', {
  skip: needsProgram('redis-server'),
  timeout: 600_000,
}, async () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'valija-torture-'))
  const json = path.join(folder, 'figures.json')
  const torture = startNode('torture/main.ts', [...arguments_, '--faults', faults, '--json', json])
  try {
    const { code } = await torture.ended
    expect(code, torture.lines.join('\n')).toBe(0)
    const { faults: done, verdict } = JSON.parse(readFileSync(json, 'utf8')) as Figures
    expect(verdict.accepted.recipients).toBeGreaterThan(0)
    // Green proves nothing of what did not happen.
    const kills = ['api', 'worker', 'redis', 'postgres'].map((victim) => `kill ${victim}`)
    const pauses = ['worker', 'redis', 'postgres'].map((victim) => `pause ${victim}`)
    const missed = [...kills, ...pauses, 'flush redis'].filter((name) => !done[name])
    expect(missed, JSON.stringify(done)).toEqual([])
    expect(
      Object.keys(done).some((name) => name.startsWith('point ')),
      JSON.stringify(done),
    ).toBe(true)
  } finally {
    await torture.stop(60_000)
    rmSync(folder, { recursive: true, force: true })
  }
})

test('a PostgreSQL that ends by itself ends the run, red, says so, and leaves no process behind', async () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'valija-torture-'))
  const torture = startNode('torture/main.ts', [
    ...'--rounds 90 --queue postgres'.split(' '),
    '--folder',
    folder,
  ])
  try {
    await torture.line(/^all are up/, 240_000)
    const postmaster = readFileSync(path.join(folder, 'postgres/postmaster.pid'), 'utf8').split('\n')[0]
    process.kill(Number(postmaster), 'SIGQUIT')
    const { code } = await torture.ended
    expect(torture.lines.at(-1)).toMatch(/^RED, ended early: PostgreSQL ended by itself/)
    expect(code).toBe(1)
    expect(processesOf(folder)).toEqual([])
  } finally {
    await torture.stop(60_000)
    rmSync(folder, { recursive: true, force: true })
  }
}, 600_000)

/** Programs whose command line or environment names the folder. */
function processesOf(folder: string): string[] {
  const read = (pid: string) => {
    try {
      return ['cmdline', 'environ'].map((name) => readFileSync(`/proc/${pid}/${name}`, 'latin1')).join()
    } catch {
      return '' // it has ended
    }
  }
  return readdirSync('/proc').filter((pid) => /^\d+$/.test(pid) && read(pid).includes(folder))
}
