/** What is examined, and the world that it is examined against. */
import type { SmarthostConfig } from '../own-routes.ts'
import { type Blocklist, publicBlocklists } from './blocklists.ts'
import { largeProviders, type PeerWish } from './mail-peers.ts'
import { publicQuestions, type ResolverQuestions } from './resolver.ts'
import { farAway } from './source-addresses.ts'
import type { DatabasePlace } from './stored-state.ts'
import type { CertificateFiles } from './tls-certificate.ts'

export interface ExaminedInstallation {
  /** Null: not set. */
  delivery: 'capture' | 'smarthost' | 'mx' | null
  database: DatabasePlace
  redisUrl: string | null
  secretKeys: readonly string[]
  /** The data folder of `npm start`, if one is kept on this machine. */
  dataFolder: string | null
  dnsServers: readonly string[]
  ehloName: string
  sourceIps: readonly string[]
  allowNetworks: readonly string[]
  mxPort: number
  /** How long all but bodies is kept, in milliseconds. */
  retentionEventsMs: number
  bounceDomain: string | null
  smarthost: SmarthostConfig | null
  certificate: CertificateFiles | null
  /** What the links in mails begin with. */
  publicUrl: string
  /** Names by which clients reach us. */
  ownNames: readonly string[]
}

/** What is asked of the world outside; tests ask a world of their own. */
export interface World {
  questions: ResolverQuestions
  /** Addresses far away; nothing is sent to them. */
  outside: readonly string[]
  /** Mail servers to try; empty: those of the providers. */
  peers: readonly PeerWish[]
  /** Domains whose exchangers are tried. */
  providers: readonly string[]
  blocklists: readonly Blocklist[]
  /** A further authority to trust, PEM. */
  ca: string | null
}

export const publicWorld: World = {
  questions: publicQuestions,
  outside: farAway,
  peers: [],
  providers: largeProviders,
  blocklists: publicBlocklists,
  ca: null,
}
