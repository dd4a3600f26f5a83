/** What a receiving site's pause or slowness means for a mail that is to go there. */
import type { Finding } from './cause-kinds.ts'
import type { SiteFacts } from './facts.ts'
import { answerOrFailure, atTime, countOf } from './words.ts'

/** @returns null for a site that gets mail as usual */
export function explainSite(site: SiteFacts | null, nowMs: number): Finding | null {
  if (site === null || site.condition === 'ok') return null
  const remedy = siteRemedy(site)
  const words = site.reply === null ? '' : ` It last answered: ${answerOrFailure(site.reply)}.`
  if (site.pausedUntilMs !== null && site.pausedUntilMs > nowMs) {
    const detail = `${site.name} is left alone until ${atTime(site.pausedUntilMs, nowMs)}.${words}`
    return { because: [{ kind: 'site_paused', detail }], remedy }
  }
  const limits = [
    ...(site.connections === null ? [] : [countOf(site.connections, 'connection')]),
    ...(site.mailsPerSecond === null ? [] : [`${countOf(site.mailsPerSecond, 'mail')} a second`]),
  ]
  const pace = limits.length === 0 ? 'less mail at a time' : `at most ${limits.join(' and ')}`
  return { because: [{ kind: 'site_slowed', detail: `${site.name} gets ${pace} for now.${words}` }], remedy }
}

/** @param site null: all that is known is that it is held back */
export function siteRemedy(site: SiteFacts | null): string {
  const lift =
    site?.condition === 'suspended'
      ? ` Once that is mended, the operator can lift the pause at once (POST /queue/sites/${site.id}/resume).`
      : ''
  const name = site?.name ?? 'the receiving site'
  return `Nothing has to be done by you: Valija probes ${name} with one connection and goes on as soon as it takes mail; its owner can mend what it answers.${lift}`
}
