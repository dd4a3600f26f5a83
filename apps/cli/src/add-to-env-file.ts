/**
 * Adds variables to the file that every command reads first (`.env`), for `valija init`. All that stands there stays, in its place; nothing that
 * has a value is overwritten; a crash leaves the file as it was or as it shall be. It then belongs to its owner alone, for secrets stand in it.
 */
import { randomBytes } from 'node:crypto'
import { link, open, readFile, realpath, rename, rm, stat } from 'node:fs/promises'
import path from 'node:path'
import { isDeepStrictEqual, parseEnv } from 'node:util'

/**
 * @param made name → value, in letters, digits and `_-.:/` only
 * @param surroundings the process's environment, which goes before the file, also where a variable is set to nothing
 * @throws {Error} a sentence, and the file is as it was
 */
export async function addToEnvFile(
  file: string,
  made: Readonly<Record<string, string>>,
  surroundings: Readonly<Record<string, string | undefined>>,
): Promise<void> {
  try {
    await add(file, made, surroundings)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === undefined) throw error
    const names = Object.keys(made).join(', ')
    throw new Error(
      `${file} cannot be written (${code}): mend that, or set ${names} by yourself and name another file by VALIJA_ENV_FILE.`,
      { cause: error },
    )
  }
}

async function add(
  file: string,
  made: Readonly<Record<string, string>>,
  surroundings: Readonly<Record<string, string | undefined>>,
): Promise<void> {
  const present = await readPresent(file)
  const text = present?.text ?? ''
  const held = parseEnv(text)
  for (const name of Object.keys(made)) {
    if (held[name]) throw new Error(`${name} stands in ${file} already, and is not overwritten.${shadowHint}`)
    if (surroundings[name] !== undefined && held[name] === undefined)
      throw new Error(`${name} is set to nothing in the environment.${shadowHint}`)
  }
  const next = withLines(text, made)
  if (!isDeepStrictEqual({ ...parseEnv(next) }, { ...held, ...made }))
    throw new Error(`Lines cannot be added to ${file}: is a quotation mark left open in it?`)
  await replaceFile(file, present, next)
}

const shadowHint = ' What the environment says goes before the file: unset it there.'

interface Present {
  /** Behind symbolic links. */
  place: string
  text: string
  uid: number
  gid: number
}

async function readPresent(file: string): Promise<Present | null> {
  const found = await stat(file).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return null
    throw error
  })
  if (found === null) return null
  if (!found.isFile()) throw new Error(`${file} is no file that lines can be added to.`)
  const { uid, gid } = found
  return { place: await realpath(file), text: await readFile(file, 'utf8'), uid, gid }
}

/** Lines that set one of the names to nothing get its value; the others go to the end. */
function withLines(text: string, made: Readonly<Record<string, string>>): string {
  let next = text
  const added: string[] = []
  for (const [name, value] of Object.entries(made)) {
    const empty = new RegExp(`^([ \\t]*(?:export[ \\t]+)?${name}[ \\t]*=)[ \\t]*(?=\\r?$)`, 'm')
    if (empty.test(next)) next = next.replace(empty, (_, head: string) => `${head}${value}`)
    else added.push(`${name}=${value}\n`)
  }
  const gap = next === '' || next.endsWith('\n') ? '' : '\n'
  return added.length === 0 ? next : `${next}${gap}${added.join('')}`
}

/** Whole or not at all, and never over what somebody else has written in between. */
async function replaceFile(file: string, present: Present | null, text: string): Promise<void> {
  const place = present?.place ?? path.resolve(file)
  const draft = `${place}.${randomBytes(6).toString('hex')}.new`
  try {
    const handle = await open(draft, 'wx', 0o600)
    try {
      if (present !== null && present.uid !== process.getuid?.()) await handle.chown(present.uid, present.gid)
      await handle.writeFile(text)
      await handle.sync()
    } finally {
      await handle.close()
    }
    if (present === null) await link(draft, place)
    else if ((await readFile(place, 'utf8')) === present.text) await rename(draft, place)
    else throw new Error(`${file} was changed meanwhile by somebody else: run this again.`)
  } finally {
    await rm(draft, { force: true })
  }
  const folder = await open(path.dirname(place))
  await folder.sync().finally(() => folder.close())
}
