/** @valija/api: the HTTP API. */
export { buildApp } from './app.ts'
export type {
  ApiDependencies,
  ApiOptions,
  Metrics,
  Readiness,
  ReadinessCheck,
} from './dependencies.ts'
export { main } from './main.ts'
export { openApiYaml } from './openapi-file.ts'
export { type OpenedServer, openServer, type ServerParts, startServer } from './server.ts'
