/** What is said to whoever typed a command that was refused: by us, or by the API. */
import { ValijaError } from '@valija/client'
import { errorCatalogue } from '@valija/core'
import { nearestName } from '@valija/runtime'
import { type Command, FaultsFound, type Flags, UsageError } from './command.ts'
import { titleOf } from './help.ts'
import { inCommands } from './in-commands.ts'

/** The flag that somebody meant who typed one that there is not, as a sentence; empty when none is near. */
export function nearFlag(unknown: string, flags: Flags = {}): string {
  const name = unknown.replace(/^-+/, '')
  const near = nearestName(name, Object.keys(flags), Math.min(3, Math.ceil(name.length / 3)))
  return near === null ? '' : ` Did you mean --${near.name}?`
}

/** What is wrong and what to do, with every fault at the flag that it came from. */
export function refusalText(error: Error, command: Command): string {
  if (!(error instanceof ValijaError)) return fileFault(error) ?? error.message
  const { code, message, fix, errors } = error
  const faults = errors.map((fault) => faultText(fault, command))
  const isInvalid = code === 'invalid_request'
  const isOne = isInvalid && faults.length === 1
  // The detail names the first fault by its path, and the usual fix says how paths are read: each line says both better.
  const what = isOne
    ? faults[0]
    : isInvalid && faults.length > 1
      ? errorCatalogue.invalid_request.title
      : message
  const remedy = fix === errorCatalogue.invalid_request.fix ? '' : fix
  const isTold = errors.length === 1 && message.includes(errors[0]?.message ?? '')
  const lines = isOne || isTold ? [] : faults.map((fault) => `  ${fault}`)
  return inCommands([sentences(what, remedy), ...lines].join('\n'))
}

function faultText({ path, message }: { path: string; message: string }, command: Command): string {
  const where = placeOf(path, command)
  // What is said of a domain is said of addresses' domains, too.
  const told = /^(<domain>|--domain)/.test(where)
    ? message.replace('as in name@example.com', 'as in example.com')
    : message
  return where === '' ? told : `${where}: ${told}`
}

/** A file that was named and cannot be read; null where it is about something else. */
function fileFault({ code, syscall, path }: NodeJS.ErrnoException): string | null {
  if (path === undefined || !/^(open|stat|scandir)$/.test(syscall ?? '')) return null
  if (code === 'ENOENT' || code === 'ENOTDIR') return `There is no ${path}.`
  return code === 'EACCES' ? `${path} may not be read by this user.` : null
}

const sentences = (...parts: (string | undefined)[]) =>
  parts
    .filter((one) => one !== undefined && one !== '')
    .map((one) => (/[.!?…]$/.test(one ?? '') ? one : `${one}.`))
    .join(' ')

/** The problem (RFC 9457) as it came; what was refused here in the same shape, without a status. */
export function refusalJson(error: Error): object {
  if (error instanceof ValijaError) {
    const { code, status, message, fix, errors, requestId } = error
    return { code, status, detail: message, fix, errors, request_id: requestId }
  }
  const isFound = error instanceof FaultsFound
  const code = isFound ? 'invalid_request' : error instanceof UsageError ? 'typed_wrongly' : 'command_failed'
  const errors = isFound ? error.errors : []
  return {
    ...{ code, status: null, detail: fileFault(error) ?? error.message },
    ...{ fix: '', errors, request_id: null },
  }
}

/** What stands on standard error, and the exit code. */
export function refusalOf(command: Command, error: Error, isJson: boolean): { text: string; code: 1 | 2 } {
  const isUsage = error instanceof UsageError
  const code = isUsage ? 2 : 1
  if (isJson) return { text: `${JSON.stringify(refusalJson(error), null, 2)}\n`, code }
  const hint = isUsage && error.unknownFlag !== null ? nearFlag(error.unknownFlag, command.flags) : ''
  const usage = isUsage ? `usage: npm run valija -- ${titleOf(command)}; --help shows the flags\n` : ''
  return { text: `valija: ${refusalText(error, command)}${hint}\n${usage}`, code }
}

/** Fields whose flag has another name. */
const otherNames: Readonly<Record<string, string>> = {
  attachments: 'attach',
  'dkim-algorithms': 'algorithm',
  'group-by': 'by',
  key: 'actor',
  'notify-if-not-handed-off-within': 'late-after',
  password: 'password-file',
  recipients: 'to',
  url: 'public-url',
}

/** Fields that are arguments, by another name. */
const argumentNames: Readonly<Record<string, string>> = {
  email: 'address',
  name: 'domain',
  routes: 'route[=weight]',
}

/** @param path of a fault: a JSON pointer into the body, or the name of a query key @returns the flag or argument that it came from */
function placeOf(path: string, { flags = {}, args = '' }: Command): string {
  const variable = /\/variables\/([^/]+)$/.exec(path)?.[1]
  if (variable !== undefined && Object.hasOwn(flags, 'variable')) return `--variable ${variable}`
  const [, limit] = /^\/limits\/(.+)$/.exec(path) ?? []
  if (limit !== undefined && Object.hasOwn(flags, 'limit')) return `--limit ${limit.replaceAll('/', '.')}`
  const [, first = ''] = /^\/?([^/.]+)/.exec(path) ?? []
  if (args.includes(`<${first}>`)) return `<${first}>`
  const field = first.replaceAll('_', '-')
  const names = [otherNames[field], field, field.replace(/s$/, ''), field.replace(/-(at|id|seconds)$/, '')]
  const flag = names.find((name) => name !== undefined && Object.hasOwn(flags, name))
  const argument = argumentNames[first]
  if (flag === undefined)
    return argument !== undefined && args.includes(`<${argument}>`) ? `<${argument}>` : path
  const index = Number(/^\/[^/]+\/(\d+)/.exec(path)?.[1] ?? 0)
  return index === 0 ? `--${flag}` : `--${flag} (number ${index + 1})`
}
