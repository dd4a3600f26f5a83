/**
 * Mail servers as relays to the sink, where they are installed: what is handed in over SMTP is on disk before its 250, and goes on
 * from there. Each has a configuration and a queue of its own in a temporary folder; the system's are left alone.
 */
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { freePort } from '../tests/support/ports.ts'
import { startPostfix } from '../tests/support/postfix.ts'
import { findHaraka, harakaVersion, startHaraka } from './haraka.ts'
import type { Watched } from './measure.ts'
import { noFigures, type Phase } from './phase.ts'
import { startProgram } from './program.ts'
import type { SmtpLoadInput, SmtpLoadResult } from './smtp-load.ts'
import { measure, type Stage, wholeTally } from './stage.ts'

export interface MailServerKind {
  name: string
  /** Null: it can be measured; else why not. */
  absence(): string | null
  version(): string
  start(port: number, sinkPort: number): Promise<{ processes: Watched; stop(): Promise<void> }>
}

/** As many as Postfix lets one client have. */
const connections = 50

export const mailServers: readonly MailServerKind[] = [
  {
    name: 'Postfix',
    absence: () => {
      if (!existsSync('/usr/sbin/postfix')) return 'not installed (Debian: apt-get install postfix)'
      return process.getuid?.() === 0 ? null : 'starting it takes root'
    },
    version: () =>
      spawnSync('/usr/sbin/postconf', ['-d', '-h', 'mail_version'], { encoding: 'utf8' }).stdout?.trim() ??
      '',
    start: async (port, sinkPort) => {
      const postfix = await startPostfix({
        host: '127.0.0.1',
        port,
        hostName: 'postfix.test',
        relay: { host: '127.0.0.1', port: sinkPort },
      })
      return { processes: { postfix: [postfix.process.pid] }, stop: postfix.stop }
    },
  },
  {
    name: 'Haraka',
    absence: () => (findHaraka() === null ? 'neither in node_modules nor on the PATH' : null),
    version: () => harakaVersion(findHaraka() ?? ''),
    start: async (port, sinkPort) => {
      const { pid, stop } = await startHaraka(findHaraka() ?? '', port, sinkPort)
      return { processes: { haraka: [pid] }, stop }
    },
  },
]

export async function runMailServer(stage: Stage, kind: MailServerKind): Promise<Phase> {
  const port = await freePort()
  const server = await kind.start(port, stage.sinkPort)
  const load = startProgram('smtp-load.ts')
  const send = async (first: number, count: number) => {
    await stage.sink.ask('expect', { first, count })
    const input: SmtpLoadInput = { port, shape: stage.shape, first, count, connections }
    const sent = await load.ask<SmtpLoadResult>('send', input)
    return { ...sent, tally: await wholeTally(stage, count) }
  }
  try {
    await send(0, stage.warmUp)
    const measured = await measure({ ...stage, load }, stage.mails, server.processes, () =>
      send(stage.warmUp, stage.mails),
    )
    const { result, ...used } = measured
    const perS = (endMs: number) => (stage.mails * 1000) / (endMs - result.startedAtMs)
    return {
      ...noFigures,
      ...used,
      mails: stage.mails,
      acceptedPerS: perS(result.endedAtMs),
      deliveredPerS: perS(result.tally.lastAtMs),
      answer: result.answer,
    }
  } finally {
    await load.end()
    await server.stop()
  }
}
