/**
 * Reads shaping files: the shipped `rules/shaping.yaml`, and the operator's, which has the same form and adds to it.
 *
 * Where both speak of a provider, the operator's fields replace the shipped ones and its rules are tried first
 * (`shipped_rules: false` drops the shipped ones, `remove: true` the whole provider). Every fault is told, with line and path.
 */
import type { DataFile, DataPath } from './data-file.ts'
import { type Reason, reasons } from './reasons.ts'
import { compileTextPattern, type TextPattern } from './text-pattern.ts'
import type {
  Provider,
  ThrottleAction,
  ThrottleBlame,
  ThrottleLimits,
  ThrottlePolicy,
  ThrottleRule,
} from './throttle-policy.ts'

/** A file that cannot be used. Each fault is a line such as `shaping.yaml:12 providers.google.connections: is no …`. */
export class ThrottlePolicyError extends Error {
  override name = 'ThrottlePolicyError'
  readonly faults: readonly string[]

  constructor(faults: readonly string[]) {
    super(`The shaping rules cannot be used:\n${faults.join('\n')}`)
    this.faults = faults
  }
}

/**
 * @param files the later ones add to the earlier ones
 * @throws {ThrottlePolicyError}
 */
export function readThrottlePolicy(files: readonly DataFile[]): ThrottlePolicy {
  const drafts = files.map(readDraft)
  const faults = drafts.flatMap((draft) => draft.faults)
  if (faults.length > 0) throw new ThrottlePolicyError(faults)
  const unknown = { ...unlimited, ...merged(drafts, (draft) => draft.unknown) }
  const relay = { ...unlimited, ...merged(drafts, (draft) => draft.relay) }
  const names = new Set(drafts.flatMap((draft) => [...draft.providers.keys()]))
  const providers: Provider[] = []
  for (const name of names) {
    const provider = mergeProvider(
      name,
      drafts.flatMap((draft) => draft.providers.get(name) ?? []),
      unknown,
    )
    if (provider !== null) providers.push(provider)
  }
  return { unknown, relay, providers, rules: drafts.toReversed().flatMap((draft) => draft.rules) }
}

/** What holds where no file says otherwise (DESIGN 4.15). */
const unlimited: ThrottleLimits = {
  connections: 10,
  mailsPerConnection: 100,
  mailsPerSecond: null,
  isTlsRequired: false,
}

interface ProviderDraft {
  limits: Partial<ThrottleLimits>
  mx?: string[]
  domains?: string[]
  per?: Provider['per']
  rules: ThrottleRule[]
  isRemoved: boolean
  keepsShippedRules: boolean
}

interface Draft {
  unknown: Partial<ThrottleLimits>
  relay: Partial<ThrottleLimits>
  providers: Map<string, ProviderDraft>
  rules: ThrottleRule[]
  faults: string[]
}

function merged(
  drafts: readonly Draft[],
  pick: (draft: Draft) => Partial<ThrottleLimits>,
): Partial<ThrottleLimits> {
  return Object.assign({}, ...drafts.map(pick))
}

function mergeProvider(
  name: string,
  drafts: readonly ProviderDraft[],
  unknown: ThrottleLimits,
): Provider | null {
  const whole = { ...unknown, mailsPerSecond: null, isTlsRequired: false }
  const provider = { name, match: { mx: [] as string[], domains: [] as string[] }, per: 'provider' as const }
  let made: Provider | null = { ...provider, limits: whole, rules: [] }
  for (const draft of drafts) {
    if (draft.isRemoved) {
      made = null
      continue
    }
    const known: Provider = made ?? { ...provider, limits: whole, rules: [] }
    made = {
      name,
      match: { mx: draft.mx ?? known.match.mx, domains: draft.domains ?? known.match.domains },
      per: draft.per ?? known.per,
      limits: { ...known.limits, ...draft.limits },
      rules: [...draft.rules, ...(draft.keepsShippedRules ? known.rules : [])],
    }
  }
  return made
}

/** Reads one file's values, and remembers what is wrong with them. */
class Reader {
  readonly faults: string[] = []
  readonly #placeOf: DataFile['placeOf']

  constructor(placeOf: DataFile['placeOf']) {
    this.#placeOf = placeOf
  }

  fault(path: DataPath, message: string): void {
    this.faults.push(`${this.#placeOf(path)} ${path.join('.') || '(the file)'}: ${message}`)
  }

  /** An object with none but these keys; null, after a fault, when it is none. */
  fields(value: unknown, path: DataPath, known: readonly string[]): Record<string, unknown> | null {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      this.fault(path, `has fields: ${known.join(', ')}`)
      return null
    }
    for (const key of Object.keys(value)) {
      if (!known.includes(key)) this.fault([...path, key], `is unknown; known are ${known.join(', ')}`)
    }
    return value as Record<string, unknown>
  }

  /** One value, if it is there and right. */
  take<T>(
    object: Record<string, unknown>,
    key: string,
    path: DataPath,
    { read, should }: Kind<T>,
  ): T | undefined {
    if (object[key] === undefined) return undefined
    const value = read(object[key])
    if (value === undefined) this.fault([...path, key], should)
    return value
  }
}

interface Kind<T> {
  /** Undefined: it is not such a value. */
  read: (value: unknown) => T | undefined
  should: string
}

const count = (highest: number): Kind<number> => ({
  read: (value) =>
    typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= highest
      ? value
      : undefined,
  should: `is a whole number from 1 to ${highest}`,
})

const choice = <T extends string>(...values: readonly T[]): Kind<T> => ({
  read: (value) => values.find((known) => known === value),
  should: `is one of ${values.join(', ')}`,
})

const flag: Kind<boolean> = {
  read: (value) => (typeof value === 'boolean' ? value : undefined),
  should: 'is true or false',
}

const unitMs = { s: 1_000, m: 60_000, min: 60_000, h: 3_600_000, d: 86_400_000 } as const

const duration: Kind<number> = {
  read: (value) => {
    const match = typeof value === 'string' ? /^(\d{1,4})(s|m|min|h|d)$/.exec(value) : null
    const ms = match === null ? 0 : Number(match[1]) * unitMs[match[2] as keyof typeof unitMs]
    return ms >= 1_000 && ms <= 7 * unitMs.d ? ms : undefined
  },
  should: 'is a time from 1s to 7d, such as 30s, 15m or 2h',
}

const rate: Kind<number> = {
  read: (value) => {
    const match = typeof value === 'string' ? /^(\d{1,6})\/(s|m|min|h)$/.exec(value) : null
    const perSecond =
      match === null ? 0 : (Number(match[1]) * 1_000) / unitMs[match[2] as keyof typeof unitMs]
    return perSecond > 0 && perSecond <= 100_000 ? perSecond : undefined
  },
  should: 'is mails per second, minute or hour, such as 20/s, 1/min or 500/h',
}

const names: Kind<string[]> = {
  read: (value) => {
    const list = Array.isArray(value) ? (value as unknown[]) : null
    if (list?.every((name) => typeof name === 'string' && /^[a-z0-9_-]+(?:\.[a-z0-9_-]+)*$/.test(name))) {
      return list as string[]
    }
    return undefined
  },
  should: 'is a list of domain names in lower case, such as [google.com]: no dot at either end, no *',
}

const texts: Kind<TextPattern[]> = {
  read: (value) => {
    const list = typeof value === 'string' ? [value] : value
    if (!Array.isArray(list) || list.length === 0) return undefined
    try {
      return list.map((text) => compileTextPattern(text as string))
    } catch {
      return undefined
    }
  },
  should: 'is a text that the reply has, or a list of such; * in it stands for anything',
}

const reasonList: Kind<Reason[]> = {
  read: (value) => {
    const list = typeof value === 'string' ? [value] : value
    if (!Array.isArray(list) || !list.every((reason) => reasons.includes(reason as Reason))) return undefined
    return list as Reason[]
  },
  should: `is one of these, or a list: ${reasons.join(', ')}`,
}

const blames: readonly ThrottleBlame[] = ['source_ip', 'sending_domain', 'tenant', 'destination']
const limitKeys = ['connections', 'mails_per_connection', 'rate', 'tls']
const ruleKeys = [
  'text',
  'reason',
  'count',
  'within',
  'blame',
  'suspend',
  'connections',
  'mails_per_connection',
  'rate',
  'for',
]

function readDraft({ content, faults, placeOf }: DataFile): Draft {
  const reader = new Reader(placeOf)
  const draft: Draft = { unknown: {}, relay: {}, providers: new Map(), rules: [], faults: reader.faults }
  if (faults.length > 0) {
    draft.faults = faults.map(({ place, message }) => `${place} ${message}`)
    return draft
  }
  const fields = reader.fields(content ?? {}, [], ['unknown', 'relay', 'rules', 'providers'])
  if (fields === null) return draft
  draft.unknown = readLimits(reader, fields.unknown ?? {}, ['unknown'])
  draft.relay = readLimits(reader, fields.relay ?? {}, ['relay'])
  draft.rules = readRules(reader, fields.rules ?? [], ['rules'], 'any')
  readProviders(reader, fields.providers ?? {}, draft.providers)
  return draft
}

function readProviders(reader: Reader, value: unknown, into: Map<string, ProviderDraft>): void {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    reader.fault(['providers'], 'has a field for each provider, by its name')
    return
  }
  for (const [name, provider] of Object.entries(value)) {
    const path = ['providers', name]
    if (!/^[a-z0-9][a-z0-9_-]{0,62}$/.test(name))
      reader.fault(path, 'a name has lower-case letters, digits, - and _')
    const fields = reader.fields(provider, path, [
      'mx',
      'domains',
      'per',
      ...limitKeys,
      'rules',
      'shipped_rules',
      'remove',
    ])
    if (fields === null) continue
    const mx = reader.take(fields, 'mx', path, names)
    const domains = reader.take(fields, 'domains', path, names)
    const per = reader.take(fields, 'per', path, choice('provider', 'site'))
    into.set(name, {
      limits: limitsOf(reader, fields, path),
      ...(mx && { mx }),
      ...(domains && { domains }),
      ...(per && { per }),
      rules: readRules(reader, fields.rules ?? [], [...path, 'rules'], name),
      isRemoved: reader.take(fields, 'remove', path, flag) ?? false,
      keepsShippedRules: reader.take(fields, 'shipped_rules', path, flag) ?? true,
    })
  }
}

function readLimits(reader: Reader, value: unknown, path: DataPath): Partial<ThrottleLimits> {
  const fields = reader.fields(value, path, limitKeys)
  return fields === null ? {} : limitsOf(reader, fields, path)
}

function limitsOf(reader: Reader, fields: Record<string, unknown>, path: DataPath): Partial<ThrottleLimits> {
  const connections = reader.take(fields, 'connections', path, count(10_000))
  const mailsPerConnection = reader.take(fields, 'mails_per_connection', path, count(100_000))
  const mailsPerSecond = reader.take(fields, 'rate', path, rate)
  const tls = reader.take(fields, 'tls', path, choice('required', 'opportunistic'))
  return {
    ...(connections !== undefined && { connections }),
    ...(mailsPerConnection !== undefined && { mailsPerConnection }),
    ...(mailsPerSecond !== undefined && { mailsPerSecond }),
    ...(tls !== undefined && { isTlsRequired: tls === 'required' }),
  }
}

function readRules(reader: Reader, value: unknown, path: DataPath, owner: string): ThrottleRule[] {
  if (!Array.isArray(value)) {
    reader.fault(path, 'is a list of rules')
    return []
  }
  return value.flatMap((rule: unknown, index) => readRule(reader, rule, [...path, index], owner) ?? [])
}

function readRule(reader: Reader, value: unknown, path: DataPath, owner: string): ThrottleRule | null {
  const fields = reader.fields(value, path, ruleKeys)
  if (fields === null) return null
  if (fields.text === undefined && fields.reason === undefined) {
    reader.fault(path, 'needs text or reason: what it answers to')
  }
  const often = reader.take(fields, 'count', path, count(1_000)) ?? 1
  const withinMs = reader.take(fields, 'within', path, duration)
  if (often > 1 && fields.within === undefined)
    reader.fault(path, 'needs within: in what time count is meant')
  const blame = reader.take(fields, 'blame', path, choice(...blames)) ?? 'source_ip'
  const effect = readEffect(reader, fields, path)
  if (effect === null) return null
  if ((blame === 'tenant' || blame === 'sending_domain') && effect.action.kind !== 'suspend') {
    reader.fault(path, `blames one ${blame}: it can only suspend`)
  }
  return {
    id: `${owner}: ${JSON.stringify(fields.text ?? fields.reason)} ${effect.action.kind}`,
    texts: reader.take(fields, 'text', path, texts) ?? [],
    reasons: reader.take(fields, 'reason', path, reasonList) ?? [],
    threshold: { count: often, withinMs: withinMs ?? effect.forMs },
    blame,
    ...effect,
  }
}

/** What a rule does, and for how long. */
function readEffect(
  reader: Reader,
  fields: Record<string, unknown>,
  path: DataPath,
): { action: ThrottleAction; forMs: number } | null {
  const kinds = ['suspend', 'connections', 'mails_per_connection', 'rate'] as const
  const given = kinds.filter((kind) => fields[kind] !== undefined)
  const kind = given[0]
  if (kind === undefined || given.length > 1) {
    reader.fault(path, `needs exactly one of ${kinds.join(', ')}`)
    return null
  }
  if (kind === 'suspend') {
    if (fields.for !== undefined) reader.fault([...path, 'for'], 'belongs to the other actions: suspend: 2h')
    const forMs = reader.take(fields, 'suspend', path, duration)
    return forMs === undefined ? null : { action: { kind }, forMs }
  }
  const forMs = reader.take(fields, 'for', path, duration)
  if (fields.for === undefined) reader.fault(path, 'needs for: how long it lasts')
  const action = readAction(reader, kind, fields, path)
  return action === null || forMs === undefined ? null : { action, forMs }
}

function readAction(
  reader: Reader,
  kind: 'connections' | 'mails_per_connection' | 'rate',
  fields: Record<string, unknown>,
  path: DataPath,
): ThrottleAction | null {
  if (kind === 'rate') {
    const mailsPerSecond = reader.take(fields, kind, path, rate)
    return mailsPerSecond === undefined ? null : { kind, mailsPerSecond }
  }
  const number = reader.take(fields, kind, path, count(10_000))
  if (number === undefined) return null
  return kind === 'connections' ? { kind, connections: number } : { kind, mailsPerConnection: number }
}
