/**
 * The data folder of `npm start`: one running instance at a time, and the file from which programs learn where it is.
 */
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'

export interface DevFile {
  url: string
  apiKey: string
  adminKey: string
  /** Where mail is handed in to be sent, with STARTTLS and a certificate of our own. */
  smtp: { host: string; port: number; user: string; pass: string }
  /** Where bounces and reports are taken. */
  bounceSmtp: { host: string; port: number }
  databaseUrl: string
  /** The process whose end ends `npm start`. */
  pid: number
}

/**
 * Claims the folder for this process.
 *
 * @returns gives it back
 * @throws {StartError} when it cannot be written or another instance runs in it
 */
export async function claimDataFolder(folder: string): Promise<() => Promise<void>> {
  // Loaded only here: commands that look for a running instance do without.
  const { StartError } = await import('@valija/flows')
  const file = path.join(folder, 'start.pid')
  try {
    await mkdir(folder, { recursive: true })
    const owner = Number(await readFile(file, 'utf8').catch(() => ''))
    if (owner > 0 && owner !== process.pid && (await isStarter(owner))) {
      throw new StartError(
        `Valija runs in ${folder} already (process ${owner}): stop it, or set VALIJA_DATA_DIR to another folder.`,
      )
    }
    await writeFile(file, `${process.pid}\n`)
  } catch (error) {
    if (error instanceof StartError) throw error
    const { code } = error as NodeJS.ErrnoException
    throw new StartError(
      `The data folder ${folder} cannot be written (${code}): set VALIJA_DATA_DIR to another one.`,
      { cause: error },
    )
  }
  return () => rm(file, { force: true })
}

/** What the instance that runs in this folder says of itself; null when none does, or when it is still starting. */
export async function findRunning(folder: string): Promise<DevFile | null> {
  const text = await readFile(path.join(folder, 'dev.json'), 'utf8').catch(() => null)
  if (text === null) return null
  const dev = parseDevFile(text)
  return dev !== null && (await isStarter(dev.pid)) ? dev : null
}

function parseDevFile(text: string): DevFile | null {
  try {
    const dev = JSON.parse(text) as Partial<DevFile> | null
    return typeof dev?.databaseUrl === 'string' && typeof dev.pid === 'number' ? (dev as DevFile) : null
  } catch {
    return null
  }
}

/** Whether the process lives and is a starter, as far as the system tells; a process id may have been given to another program. */
async function isStarter(pid: number): Promise<boolean> {
  try {
    process.kill(pid, 0)
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
  const commandLine = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => null)
  return commandLine === null || /cli\/src\/main\.ts\0start/.test(commandLine)
}

/** Writes dev.json, readable by its owner only, whole or not at all. */
export async function writeDevFile(folder: string, content: DevFile): Promise<void> {
  const file = path.join(folder, 'dev.json')
  const draft = `${file}.${process.pid}`
  await writeFile(draft, `${JSON.stringify(content, null, 2)}\n`, { mode: 0o600 })
  await rename(draft, file)
}
