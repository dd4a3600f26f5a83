/**
 * From environment variables to the configuration, or to the list of everything that is wrong with them.
 *
 * This is the only product file that touches `process.env`. Processes load once, at the start, and hand on what each
 * part needs; nothing reads the environment later.
 */
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { loadEnvFile } from 'node:process'

import { type Profile, schema, type Values, type Variable, variables } from './config-schema.ts'
import { Refusal } from './config-values.ts'
import { nearestName } from './near-names.ts'

export type Environment = Readonly<Record<string, string | undefined>>

/** The process's environment; for a main.ts to hand to loadConfig. */
export const environment = (): Environment => process.env

/**
 * Adds what the file of variables says (VALIJA_ENV_FILE, else `.env` in the working folder) to the process's environment; what
 * is set already stays, also when it is empty. For the command line, before it loads anything that reads the environment.
 *
 * @throws {Error} a sentence: a file that was named and is not there, one that cannot be read, a line that sets nothing
 */
export function readEnvFile(): void {
  const named = textOf(process.env, schema.envFile.name)
  const file = named ?? schema.envFile.default
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT' && named === null) return
    throw new Error(`the file of variables ${file} cannot be read: ${code}`, { cause: error })
  }
  const line = lineThatSetsNothing(text)
  // Without its text, which may be a secret.
  if (line !== null) throw new Error(`line ${line} of ${file} is not of the form NAME=value`)
  loadEnvFile(file)
}

/** Node passes over what it does not understand. */
function lineThatSetsNothing(text: string): number | null {
  // A quoted value may go over several lines: what is left of it is the line breaks.
  const flat = text.replace(/(?<==[ \t]*)(["'`])[\s\S]*?\1/g, (value) => value.replace(/[^\n]/g, ''))
  const index = flat.split('\n').findIndex((line) => !/^\s*(#.*|(export\s+)?[\w.-]+\s*=.*)?$/.test(line))
  return index < 0 ? null : index + 1
}

export type Config = Readonly<Omit<Values, 'publicUrl'>> & {
  readonly profile: Profile
  /** Without a slash at the end. */
  readonly publicUrl: string
}

export type ConfigFault = { name: string; message: string }

/** The environment does not make a configuration. The message lists every fault on a line of its own. */
export class ConfigError extends Error {
  override name = 'ConfigError'
  readonly faults: readonly ConfigFault[]

  constructor(faults: readonly ConfigFault[]) {
    const count = faults.length === 1 ? 'One variable is' : `${faults.length} variables are`
    const lines = faults.map(({ name, message }) => `  ${name}: ${message}`)
    super([`${count} not right (see docs/configuration.md):`, ...lines].join('\n'))
    this.faults = faults
  }
}

/** `npm start` is for one machine: its own webhooks and smarthosts may be on it. */
const LOOPBACK = ['127.0.0.0/8', '::1/128']

/** An empty variable is an absent one: compose files and CI write `NAME=` for that. */
const textOf = (env: Environment, name: string): string | null => env[name]?.trim() || null

function unknownNames(env: Environment): ConfigFault[] {
  const known = variables.map(([, { name }]) => name)
  const unknown = Object.keys(env).filter((name) => name.startsWith('VALIJA_') && !known.includes(name))
  return unknown.map((name) => {
    // Some have no VALIJA_ in front: PORT is what VALIJA_PROT means.
    const bare = name.slice('VALIJA_'.length)
    const half = Math.floor(bare.length / 2)
    const nearest = [nearestName(name, known, Math.min(6, half)), nearestName(bare, known, Math.min(2, half))]
      .filter((found) => found !== null)
      .toSorted((one, other) => one.edits - other.edits)[0]
    const hint = nearest === undefined ? '' : `; did you mean ${nearest.name}?`
    return { name, message: `there is no such variable${hint}` }
  })
}

/** One variable's value: given, or default, or null. */
function parse(definition: Variable, given: string | null, faults: ConfigFault[]): unknown {
  const text = given ?? definition.default
  if (text === null) return null
  try {
    return definition.kind.parse(text)
  } catch (error) {
    if (!(error instanceof Refusal)) throw error
    const shown = definition.isSecret ? '' : ` (it is "${text}")`
    faults.push({ name: definition.name, message: `${error.message}${shown}` })
    return null
  }
}

/** Rules that involve several variables. Only set and valid ones are judged: each fault is reported once. */
function crossFaults(values: Values, profile: Profile, isSet: (key: keyof Values) => boolean): ConfigFault[] {
  const faults: ConfigFault[] = []
  const fault = (key: keyof Values, message: string) => faults.push({ name: schema[key].name, message })
  for (const [key, { requiredBy }] of variables) {
    if (requiredBy?.includes(profile) && !isSet(key)) fault(key, `is required by valija ${profile}`)
  }
  if (isSet('tlsCert') !== isSet('tlsKey')) {
    fault(isSet('tlsCert') ? 'tlsKey' : 'tlsCert', 'certificate and key must be set together')
  }
  if (profile === 'migrate' || profile === 'cli') return faults
  if (values.delivery === 'smarthost' && !isSet('smarthost'))
    fault('smarthost', 'is required by VALIJA_DELIVERY=smarthost')
  if (values.delivery === 'mx' && !isSet('bounceDomain'))
    fault('bounceDomain', 'is required by VALIJA_DELIVERY=mx')
  if (profile === 'smtp' && isSet('submissionsPort') && !isSet('tlsCert')) {
    fault('tlsCert', 'is required by VALIJA_SUBMISSIONS_PORT')
  }
  return [...faults, ...portClashes(values, profile)]
}

/** Two listeners of one process cannot have the same port. */
function portClashes(values: Values, profile: Profile): ConfigFault[] {
  const listeners = {
    start: ['port', 'submissionPort', 'submissionsPort', 'bouncePort'],
    smtp: ['submissionPort', 'submissionsPort', 'bouncePort'],
  } as const
  if (profile !== 'start' && profile !== 'smtp') return []
  const seen = new Map<number, string>()
  const faults: ConfigFault[] = []
  for (const key of listeners[profile]) {
    const port = values[key]
    if (port === null) continue
    const other = seen.get(port)
    if (other) faults.push({ name: schema[key].name, message: `is the same port as ${other} (${port})` })
    seen.set(port, schema[key].name)
  }
  return faults
}

/** Where the HTTP API is found from the same machine, when nobody said how it is found from elsewhere. */
function localUrl({ host, port }: Values): string {
  const reachable = host === '0.0.0.0' || host === '::' ? '127.0.0.1' : host
  return `http://${reachable.includes(':') ? `[${reachable}]` : reachable}:${port}`
}

/**
 * Reads every variable, for the process that is being started.
 * @throws {ConfigError} with all faults: bad values, unknown VALIJA_* names, missing ones
 */
export function loadConfig(env: Environment, profile: Profile): Config {
  const faults = unknownNames(env)
  const values = Object.fromEntries(
    variables.map(([key, definition]) => [key, parse(definition, textOf(env, definition.name), faults)]),
  ) as Values
  const isSet = (key: keyof Values) => textOf(env, schema[key].name) !== null
  if (profile === 'start') {
    values.delivery ??= isSet('delivery') ? null : 'capture'
    values.allowNetworks = Object.freeze([...new Set([...(values.allowNetworks ?? []), ...LOOPBACK])])
  }
  faults.push(...crossFaults(values, profile, isSet))
  if (faults.length > 0) throw new ConfigError(faults)
  const publicUrl = values.publicUrl ?? localUrl(values)
  return Object.freeze({ ...values, profile, publicUrl, dataDir: path.resolve(values.dataDir) })
}

/**
 * What the environment makes in spite of its faults, as if the faulty variables were not set: for whoever examines it. What is
 * only missing stays missing.
 */
export function examineConfig(
  env: Environment,
  profile: Profile,
): { config: Config; faults: readonly ConfigFault[] } {
  try {
    return { config: loadConfig(env, profile), faults: [] }
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    const faulty = new Set(error.faults.map(({ name }) => name))
    // Of a certificate without its key (or the other way round) the fault names the one that is missing.
    const pair = [schema.tlsCert.name, schema.tlsKey.name]
    if (pair.some((name) => faulty.has(name))) for (const name of pair) faulty.add(name)
    const usable = Object.fromEntries(Object.entries(env).filter(([name]) => !faulty.has(name)))
    return { config: loadConfig(usable, 'cli'), faults: error.faults }
  }
}

/** The configuration with keys that `npm start` made; those that the operator set stay. */
export function withSecrets(config: Config, made: { adminKey: string; secretKey: string }): Config {
  return Object.freeze({
    ...config,
    adminKey: config.adminKey ?? made.adminKey,
    secretKeys: config.secretKeys.length > 0 ? config.secretKeys : Object.freeze([made.secretKey]),
  })
}
