/**
 * The short form of `npm run torture` (docs/torture.md): kills of everything that can be killed, a flush, pauses, deaths at crash
 * points, and three ledgers that must agree. Only guarantees are asked for here, never speeds.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { expect, test } from 'vitest'
import { startNode } from './support/processes.ts'
import { needsProgram } from './support/until.ts'

const arguments_ =
  '--seed 61 --rounds 4 --round-seconds 4 --rate 12 --clients 32 --no-webhooks --drain-seconds 240'.split(' ')
/** A site that drips is given up after a minute: that is for the long form. */
const faults = 'api,worker,redis,postgres,flush,pause,points,sink'

// One after the other: both at a time take the processor from all files beside them.
test('whatever is killed, flushed or stopped, every accepted mail comes to one end, and comes twice only where it had to', {
  skip: needsProgram('redis-server'),
  timeout: 600_000,
}, async () => {
  const torture = startNode('torture/main.ts', [...arguments_, '--faults', faults])
  const { code } = await torture.ended
  expect(code, torture.lines.join('\n')).toBe(0)
  expect(torture.lines.join('\n')).toMatch(/^accepted +[1-9]/m)
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
