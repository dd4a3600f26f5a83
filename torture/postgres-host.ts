/**
 * The run's PostgreSQL: the embedded one, durable as always, which can be killed as a machine's fall would, stopped and started again on
 * the same data under the same URL.
 */
import { readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import path from 'node:path'
import { type EmbeddedPostgres, startEmbeddedPostgres } from '@valija/runtime'

export interface PostgresHost {
  /** Holds over restarts. */
  url: string
  /** SIGKILL to all its processes; resolves when they are gone. */
  kill(): Promise<void>
  /** On the same data; resolves when it takes connections. */
  restart(): Promise<void>
  pause(): void
  resume(): void
  stop(): Promise<void>
}

const database = 'valija'
/** Of its log, to say why it ended. */
const keptLines = 8

/** @param onEnd told when it ends by itself, with its last lines */
export async function startPostgresHost(
  folder: string,
  onEnd: (what: string) => void,
): Promise<PostgresHost> {
  const link = path.join(folder, 'pg')
  let postgres: EmbeddedPostgres
  let isMeant = false
  const start = async () => {
    const last: string[] = []
    const log = (line: string) => {
      last.push(line)
      last.splice(0, last.length - keptLines)
    }
    postgres = await startEmbeddedPostgres({ dataDir: path.join(folder, 'postgres'), database, log })
    isMeant = false
    void postgres.exited.then((code) => {
      if (!isMeant) onEnd(`PostgreSQL ended by itself (code ${code}): ${last.join(' | ')}`)
    })
    // Its socket is in another folder each time; the programs know the link.
    rmSync(link, { force: true })
    symlinkSync(new URL(postgres.url).searchParams.get('host') ?? '', link)
  }
  await start()
  const signal = (name: NodeJS.Signals) => {
    // The postmaster last to stop and first to die would start recovery: its children go with it.
    for (const pid of [postgres.pid, ...childrenOf(postgres.pid)]) send(pid, name)
  }
  return {
    url: `postgresql://postgres@localhost/${database}?host=${encodeURIComponent(link)}`,
    kill: async () => {
      isMeant = true
      signal('SIGSTOP')
      signal('SIGKILL')
      await postgres.exited
      await postgres.stop()
    },
    restart: start,
    pause: () => signal('SIGSTOP'),
    resume: () => signal('SIGCONT'),
    stop: () => {
      isMeant = true
      return postgres.stop()
    },
  }
}

function send(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name)
  } catch {
    // It has ended by itself.
  }
}

function childrenOf(parent: number): number[] {
  return readdirSync('/proc').flatMap((name) => {
    if (!/^\d+$/.test(name)) return []
    try {
      // `pid (name) state ppid …`; the name may hold anything.
      const stat = readFileSync(`/proc/${name}/stat`, 'utf8')
      return Number(stat.slice(stat.lastIndexOf(')') + 4).split(' ')[0]) === parent ? [Number(name)] : []
    } catch {
      return []
    }
  })
}
