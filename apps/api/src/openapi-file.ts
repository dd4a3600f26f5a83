/** openapi.yaml: the description of an app that is built and never asked, so everything it is handed refuses to work. */
import { buildApp } from './app.ts'
import type { ApiDependencies } from './dependencies.ts'

export async function openApiYaml(): Promise<string> {
  const app = await buildApp(unusable())
  try {
    return app.swagger({ yaml: true })
  } finally {
    await app.close()
  }
}

function unusable(): ApiDependencies {
  const refuse = (): never => {
    throw new Error('this app was built to be described, not to be used')
  }
  const silent = { level: 'silent', silent: () => undefined, child: () => silent }
  const log = new Proxy(silent, { get: (target, name) => Reflect.get(target, name) ?? (() => undefined) })
  const parts = {
    options: {
      maxMessageSizeBytes: 40 * 1024 * 1024,
      delivery: 'capture',
      isAllInOne: true,
      publicUrl: null,
      trustProxy: [],
      corsOrigins: [],
      metricsToken: null,
      maxRequestsPerAddress: 0,
      retentionDays: 1,
      allowNetworks: [],
    },
    log,
  }
  return new Proxy(parts, {
    get: (target, name) => Reflect.get(target, name) ?? refuse,
  }) as unknown as ApiDependencies
}
