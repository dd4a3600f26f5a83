/**
 * The keys that `npm start` makes for itself: `secrets.json` in the data folder, readable by its owner alone.
 *
 * They must outlive every crash, for stored data is sealed with them: the file is written whole, brought to the disk, and
 * linked to its name, which fails when another start was faster (then its keys hold).
 */
import { randomBytes } from 'node:crypto'
import { chmod, link, mkdir, open, readFile, rm, stat } from 'node:fs/promises'
import path from 'node:path'

export type Secrets = {
  /** The operator's API key. */
  adminKey: string
  /** 256 random bits, base64url. */
  secretKey: string
}

/** Keys that nobody has had before. */
export const newSecrets = (): Secrets => ({
  adminKey: `adm_${randomBytes(32).toString('base64url')}`,
  secretKey: randomBytes(32).toString('base64url'),
})

/** The file cannot be used. The message is a sentence for the operator. */
export class SecretsFileError extends Error {
  override name = 'SecretsFileError'
}

/** The kept keys; null when there is no file yet. */
async function read(file: string): Promise<Secrets | null> {
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return null
    throw new SecretsFileError(`${file} cannot be read (${error.code}).`)
  })
  if (text === null) return null
  try {
    const { adminKey, secretKey } = JSON.parse(text) as Partial<Secrets>
    if (typeof adminKey !== 'string' || typeof secretKey !== 'string') throw new TypeError('no keys')
    if (((await stat(file)).mode & 0o077) !== 0) await chmod(file, 0o600)
    return { adminKey, secretKey }
  } catch {
    // Never made anew here: other keys could not open what is stored.
    throw new SecretsFileError(
      `${file} does not hold the keys of this installation: restore it, or remove the whole data folder to begin anew.`,
    )
  }
}

/** Writes the keys durably under their name, unless there is such a file by now. */
async function write(file: string, secrets: Secrets): Promise<void> {
  const draft = `${file}.${randomBytes(6).toString('hex')}.new`
  const handle = await open(draft, 'w', 0o600)
  try {
    await handle.writeFile(`${JSON.stringify(secrets, null, 2)}\n`)
    await handle.sync()
  } finally {
    await handle.close()
  }
  await link(draft, file).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EEXIST') throw error
  })
  await rm(draft)
  const folder = await open(path.dirname(file))
  await folder.sync().finally(() => folder.close())
}

/**
 * The keys in `<dataDir>/secrets.json`; null when there are none yet.
 * @throws {SecretsFileError} when the file cannot be read or understood
 */
export const readSecrets = (dataDir: string): Promise<Secrets | null> =>
  read(path.join(dataDir, 'secrets.json'))

/**
 * The keys in `<dataDir>/secrets.json`; made at the first call. The folder is made when absent.
 * @throws {SecretsFileError} when the file cannot be read, written or understood
 */
export async function loadOrCreateSecrets(dataDir: string): Promise<Secrets> {
  const file = path.join(dataDir, 'secrets.json')
  const kept = await read(file)
  if (kept) return kept
  try {
    await mkdir(dataDir, { recursive: true })
    await write(file, newSecrets())
  } catch (error) {
    throw new SecretsFileError(
      `${file} cannot be written (${(error as NodeJS.ErrnoException).code}): set VALIJA_DATA_DIR to another folder.`,
    )
  }
  const made = await read(file)
  if (!made) throw new SecretsFileError(`${file} vanished while it was written.`)
  return made
}
