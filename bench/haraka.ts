/**
 * A Haraka of the benchmark's own, where one is installed (in node_modules, or `haraka` on the PATH): it believes every client on
 * loopback and hands everything to the sink, by its outbound queue on disk. Configuration and queue are in a temporary folder.
 */
import { accessSync, constants, readFileSync, realpathSync } from 'node:fs'
import { cp, mkdir, mkdtemp, realpath, rm, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { startProcess } from '../tests/support/processes.ts'

/** Its program; null: not installed. */
export function findHaraka(): string | null {
  const folders = (process.env.PATH ?? '').split(':').map((folder) => path.join(folder, 'haraka'))
  const inModules = path.resolve(import.meta.dirname, '../node_modules/Haraka/bin/haraka')
  return [inModules, ...folders].find(isProgram) ?? null
}

/** Of what it is installed with. */
export function harakaVersion(program: string): string {
  const { version } = JSON.parse(
    readFileSync(path.resolve(realpathSync(program), '../../package.json'), 'utf8'),
  ) as { version: string }
  return version
}

function isProgram(file: string): boolean {
  try {
    accessSync(file, constants.X_OK)
    return true
  } catch {
    return false
  }
}

/** Its hooks: DNS is not asked who a client is, everybody may relay, and whatever the domain, the mail goes to the sink. */
const plugin = (sinkPort: number) => `exports.hook_lookup_rdns = (next) => next(OK, 'load.test')
exports.hook_connect = (next, connection) => {
  connection.relaying = true
  next()
}
exports.hook_get_mx = (next) => next(OK, { priority: 0, exchange: '127.0.0.1', port: ${sinkPort} })
`

export async function startHaraka(
  program: string,
  port: number,
  sinkPort: number,
): Promise<{ pid: number; stop(): Promise<void> }> {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'valija-haraka-'))
  const files = {
    'config/smtp.ini': `listen=127.0.0.1:${port}\n`,
    'config/me': 'haraka.test\n',
    'config/plugins': 'to_sink\n',
    // As many conversations at once as it has by itself.
    'config/outbound.ini': 'enable_tls=false\nlocal_mx_ok=true\n',
    'config/log.ini': '[main]\nlevel=notice\n',
    'plugins/to_sink.js': plugin(sinkPort),
  }
  // It does not start to talk without what it brings along.
  const delivered = path.resolve(await realpath(program), '../../config')
  await cp(delivered, path.join(folder, 'config'), { recursive: true })
  for (const name of ['plugins', 'queue']) await mkdir(path.join(folder, name))
  for (const [name, text] of Object.entries(files)) await writeFile(path.join(folder, name), text)
  const server = startProcess(program, ['-c', folder], { cwd: folder })
  const stop = async () => {
    await server.stop()
    await server.kill()
    await rm(folder, { recursive: true, force: true })
  }
  try {
    await server.line(/[Ll]istening on/)
    return { pid: server.pid, stop }
  } catch (error) {
    await stop()
    throw error
  }
}
