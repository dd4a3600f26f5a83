/**
 * The log of one request, with its id in each line. Hardly any request has something to say, and a logger that looks for secrets takes
 * 2 % of POST /send to be made: so it is made for the first line.
 */
import type { FastifyBaseLogger } from 'fastify'

type Bindings = Parameters<FastifyBaseLogger['child']>[0]
type Options = Parameters<FastifyBaseLogger['child']>[1]

/** For Fastify's `childLoggerFactory`. */
export function createRequestLog(
  log: FastifyBaseLogger,
  bindings: Bindings,
  options?: Options,
): FastifyBaseLogger {
  return new RequestLog(() => log.child(bindings, options))
}

class RequestLog implements FastifyBaseLogger {
  readonly #make: () => FastifyBaseLogger
  #made: FastifyBaseLogger | null = null

  constructor(make: () => FastifyBaseLogger) {
    this.#make = make
  }

  get #log(): FastifyBaseLogger {
    this.#made ??= this.#make()
    return this.#made
  }

  get level(): string {
    return this.#log.level
  }

  set level(level: string) {
    this.#log.level = level
  }

  fatal(...line: LogLine): void {
    this.#log.fatal(...line)
  }

  error(...line: LogLine): void {
    this.#log.error(...line)
  }

  warn(...line: LogLine): void {
    this.#log.warn(...line)
  }

  info(...line: LogLine): void {
    this.#log.info(...line)
  }

  debug(...line: LogLine): void {
    this.#log.debug(...line)
  }

  trace(...line: LogLine): void {
    this.#log.trace(...line)
  }

  silent(...line: LogLine): void {
    this.#log.silent(...line)
  }

  child(bindings: Bindings, options?: Options): FastifyBaseLogger {
    return this.#log.child(bindings, options)
  }
}

type LogLine = [about: unknown, text?: string, ...values: unknown[]]
