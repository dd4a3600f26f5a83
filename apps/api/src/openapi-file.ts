/**
 * The OpenAPI document, as openapi.yaml has it and as the API answers it: the description of an app that is built and never asked, so
 * everything it is handed refuses to work.
 */
import { buildApp } from './app.ts'
import type { ApiDependencies, ApiOptions } from './dependencies.ts'

/** @param publicUrl where the API is; null: on this machine */
export async function describeApi(
  publicUrl: ApiOptions['publicUrl'] = null,
): Promise<{ json: string; yaml: string }> {
  const app = await buildApp(unusable(publicUrl), true)
  try {
    return { json: JSON.stringify(app.swagger()), yaml: app.swagger({ yaml: true }) }
  } finally {
    await app.close()
  }
}

export const openApiYaml = async (): Promise<string> => (await describeApi()).yaml

function unusable(publicUrl: ApiOptions['publicUrl']): ApiDependencies {
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
      publicUrl,
      trustProxy: [],
      corsOrigins: [],
      metricsToken: null,
      maxRequestsPerAddress: 0,
      retentionDays: 1,
      contentDays: 1,
      allowNetworks: [],
    },
    log,
  }
  return new Proxy(parts, {
    get: (target, name) => Reflect.get(target, name) ?? refuse,
  }) as unknown as ApiDependencies
}
