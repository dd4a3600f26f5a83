/** What every process needs before it has anything to do with mail: configuration, log, metrics, life and death. */

export {
  type Config,
  ConfigError,
  type ConfigFault,
  type Environment,
  environment,
  examineConfig,
  loadConfig,
  readEnvFile,
  withSecrets,
} from './config.ts'
export { configurationPage, environmentExample } from './config-document.ts'
export type { Profile } from './config-schema.ts'
export type { MessageTtlMs, Smarthost } from './config-values.ts'
export {
  type EmbeddedPostgres,
  type EmbeddedPostgresOptions,
  startEmbeddedPostgres,
} from './embedded-postgres.ts'
export { EmbeddedPostgresError } from './embedded-postgres-error.ts'
export { type Life, type RunOptions, runUntilSignal, type StopStep } from './lifecycle.ts'
export { whyNotListening } from './listen-trouble.ts'
export {
  createLogger,
  type Logger,
  type LoggerOptions,
  type LogLevel,
  lineWriter,
  withoutSecrets,
} from './log.ts'
export { type Count, createMetrics, type Distribution, type Level, type Metrics } from './metrics.ts'
export { nearestName } from './near-names.ts'
export {
  loadOrCreateSecrets,
  newSecrets,
  readSecrets,
  type Secrets,
  SecretsFileError,
} from './secrets-file.ts'
export { startWatchdog, type Watchdog, type WatchdogOptions, watchdogSignal } from './watchdog.ts'
