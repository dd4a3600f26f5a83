/** The commands that exist, each with a line for the help. */
export interface Command {
  summary: string
  /** @throws {Error} whose message is a sentence for the operator */
  run(args: string[]): Promise<unknown>
}

export const commands: Record<string, Command> = {
  start: {
    summary: 'everything on this machine, with an embedded PostgreSQL unless DATABASE_URL is set',
    run: async (args) => (await import('./start.ts')).start(args),
  },
  api: {
    summary: 'one API process',
    run: async () => (await import('@valija/api')).main(),
  },
  worker: {
    summary: 'one worker process: delivery, webhooks, sweeps',
    run: async () => (await import('@valija/worker')).main(),
  },
  smtp: {
    summary: 'one process that takes bounces and complaints over SMTP',
    run: async () => (await import('@valija/smtp')).main(),
  },
  migrate: {
    summary: 'brings the database at DATABASE_URL to this version',
    run: async (args) => (await import('./migrate.ts')).migrateDatabase(args),
  },
  tenant: {
    summary: 'create --name <name>: makes a tenant and prints its first API key',
    run: async (args) => (await import('./tenant.ts')).tenant(args),
  },
  explain: {
    summary:
      '<message id> [--json] [--url <URL> --key <key>|--key-file <file>]: where each recipient of a message stands, why, and what to do',
    run: async (args) => (await import('./explain.ts')).explain(args),
  },
  doctor: {
    summary:
      '[--json] [--connect <host[:port]>]: looks at everything that delivery needs, and how to mend what is wrong',
    run: async (args) => (await import('./doctor.ts')).doctor(args),
  },
  'eval-bounces': {
    summary:
      '<folder> [--json]: reads the mails in <folder>/mail and tells how far that agrees with <folder>/expected.json',
    run: async (args) => (await import('./eval-bounces.ts')).evalBounces(args),
  },
  help: {
    summary: 'this list',
    run: async () => {
      const width = Math.max(...Object.keys(commands).map((name) => name.length))
      const lines = Object.entries(commands).map(
        ([name, { summary }]) => `  ${name.padEnd(width)}  ${summary}`,
      )
      process.stdout.write(`npm run valija -- <command>\n\n${lines.join('\n')}\n`)
    },
  },
}
