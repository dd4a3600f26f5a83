/**
 * How commands ask the HTTP API: where it is and with which key, and refusals as sentences.
 *
 * `--url` and `--key` (or `--key-file`, since the arguments of a program are there for everybody on the machine to see) say so; without
 * them it is the `npm start` that runs in the data folder.
 */
import { readFile } from 'node:fs/promises'
import { environment, loadConfig } from '@valija/runtime'
import { findRunning } from './data-folder.ts'

/** The options of every command that asks the API, for `parseArgs`. */
export const apiOptions = {
  url: { type: 'string' },
  key: { type: 'string' },
  'key-file': { type: 'string' },
} as const

/** As `parseArgs` gives them. */
export interface ApiArguments {
  url?: string | undefined
  key?: string | undefined
  'key-file'?: string | undefined
}

export interface ApiClient {
  /**
   * @param path with a slash in front
   * @throws {Error} a sentence for whoever typed the command
   */
  get<T>(path: string): Promise<T>
}

/** A production API answers within its own limits; whoever is slower than this is not going to. */
const answerMs = 30_000

/** @throws {Error} when it is not said where the API is, and none runs here */
export async function openApiClient(given: ApiArguments): Promise<ApiClient> {
  const { url, key } = await findApi(given)
  return {
    get: async <T>(path: string) => {
      const response = await fetch(`${url.replace(/\/$/, '')}${path}`, {
        headers: { authorization: `Bearer ${key}` },
        signal: AbortSignal.timeout(answerMs),
      }).catch((cause: Error) => {
        throw new Error(`The API at ${url} cannot be reached: ${reasonOf(cause)}.`, { cause })
      })
      const body: unknown = await response.json().catch(() => null)
      if (!response.ok) throw new Error(refusalOf(response.status, body))
      return body as T
    },
  }
}

async function findApi(given: ApiArguments): Promise<{ url: string; key: string }> {
  const fileKey =
    given['key-file'] === undefined ? undefined : (await readFile(given['key-file'], 'utf8')).trim()
  const key = given.key ?? fileKey
  if (given.url !== undefined && key !== undefined) return { url: given.url, key }
  const { dataDir } = loadConfig(environment(), 'cli')
  const running = await findRunning(dataDir)
  if (running === null) {
    throw new Error(
      `No "npm start" runs in ${dataDir}: say where the API is by --url, and with which key by --key or --key-file.`,
    )
  }
  return { url: given.url ?? running.url, key: key ?? running.apiKey }
}

/** `fetch` hides what happened behind "fetch failed". */
function reasonOf(error: Error): string {
  const { cause } = error
  return cause instanceof Error && cause.message !== '' ? cause.message : error.message
}

/** A problem (RFC 9457) on one line: what is wrong, and what to do. */
function refusalOf(status: number, body: unknown): string {
  const { title, detail, fix } = (body ?? {}) as { title?: string; detail?: string; fix?: string }
  if (title === undefined) return `The API answered ${status}, which is no answer of Valija's: check --url.`
  return [detail ?? `${title}.`, fix].filter((part) => part !== undefined).join(' ')
}
