/** What `valija doctor` looks at, and what readiness shares with it. */
import type { Check } from './check.ts'
import type { ExaminedInstallation, World } from './examined-installation.ts'

export { intakeBanner } from './bounce-domain.ts'
export type { Check } from './check.ts'
export { checkOf } from './check.ts'
export { judgeConfiguration } from './configuration.ts'
export { isFullyQualified } from './ehlo-name.ts'
export { type ExaminedInstallation, publicWorld, type World } from './examined-installation.ts'
export { type PeerWish, parsePeer } from './mail-peers.ts'
export type { DatabasePlace } from './stored-state.ts'

/** As in examine-installation.ts, which is loaded when it is asked for: two dozen files that no process needs but `valija doctor`. */
export async function examineInstallation(
  installation: ExaminedInstallation,
  world?: World,
): Promise<Check[]> {
  const examination = await import('./examine-installation.ts')
  return examination.examineInstallation(installation, world)
}
