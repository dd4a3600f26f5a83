/**
 * What TLS receivers promise, and how it goes with them, put together for a worker: policies by DANE and MTA-STS, the stored
 * ones shared by all workers, and counts for reports.
 */
import {
  createOutgoingHttp,
  createTlsPolicies,
  createTlsReports,
  type Resolver,
  resolverLookup,
  type TlsPolicies,
  type TlsReports,
} from '@valija/courier'
import { addTlsReports, type Database, findStsPolicy, saveStsPolicy } from '@valija/store'

export interface ReceiverTls {
  policies: TlsPolicies
  reports: TlsReports
  /** Writes the last counts; policies cannot be fetched any more. */
  close(): Promise<void>
}

export interface ReceiverTlsDependencies {
  database: Pick<Database, 'engine'>
  /** Also for the names of policy hosts, which the guard judges like any other. */
  resolver: Resolver
  allowNetworks: readonly string[]
  /** Of the exchangers (`VALIJA_MX_PORT`). */
  port: number
  onError: (error: Error) => void
  /** Where policy hosts listen and an authority that is trusted besides, for tests. */
  policyHosts?: { port: number; ca: string }
}

/** Counting begins at once. */
export function openReceiverTls(dependencies: ReceiverTlsDependencies): ReceiverTls {
  const { database, resolver, allowNetworks, port, onError, policyHosts } = dependencies
  const { engine } = database
  const http = createOutgoingHttp({
    allowNetworks,
    lookup: resolverLookup(resolver),
    ...(policyHosts && { ca: policyHosts.ca }),
  })
  const policies = createTlsPolicies({
    resolver,
    http,
    port,
    ...(policyHosts && { policyPort: policyHosts.port }),
    cache: {
      find: (domain) => findStsPolicy(engine, domain),
      save: (domain, policy) => saveStsPolicy(engine, domain, policy),
    },
  })
  const reports = createTlsReports({ save: (counts) => addTlsReports(engine, counts), onError })
  reports.start()
  return {
    policies,
    reports,
    close: async () => {
      await reports.stop()
      await http.close()
    },
  }
}
