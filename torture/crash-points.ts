/**
 * The enumerated crash points: before and after every await in the files on the way of a mail.
 *
 * No test code is in the product. The sources are parsed here, and a copy of each is written in which
 *
 *     await commit(rows)      has become      __torture.after(17, (__torture.before(16), await commit(rows)))
 *
 * A loader hook (crash-hook.ts) hands these copies to the processes of the run in the place of the files. No line is added, so
 * stack traces stay true.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { stripTypeScriptTypes } from 'node:module'
import path from 'node:path'
import ts from 'typescript'
import { changeSource, type SourceChange } from './guards.ts'

/** Every file that has something to wait for between POST /send and a webhook's 200. */
export const wayOfAMail = [
  'apps/api/src/app.ts',
  'apps/api/src/answer-in-time.ts',
  'apps/api/src/json-body.ts',
  'apps/api/src/routes/messages/send.ts',
  'packages/flows/src/authenticate.ts',
  'packages/flows/src/sender-domains.ts',
  'packages/flows/src/accept-route.ts',
  'packages/flows/src/queue-limits.ts',
  'packages/store/src/queue-depth.ts',
  'packages/flows/src/allowances.ts',
  'packages/store/src/usage.ts',
  'packages/flows/src/prepare-message.ts',
  'packages/flows/src/send-message.ts',
  'packages/flows/src/batcher.ts',
  'packages/store/src/accept-messages.ts',
  'packages/store/src/idempotency-keys.ts',
  'packages/store/src/retry-conflicts.ts',
  'packages/store/src/database.ts',
  'packages/flows/src/admit-deliveries.ts',
  'packages/flows/src/hint-by-hand.ts',
  'packages/flows/src/dispatch-deliveries.ts',
  'packages/flows/src/sweep-deliveries.ts',
  'packages/flows/src/sleeper.ts',
  'packages/store/src/admission.ts',
  'packages/store/src/instance.ts',
  'packages/store/src/leadership.ts',
  'packages/store/src/wake.ts',
  'packages/store/src/queue/bull-queue.ts',
  'packages/store/src/queue/redis-queue.ts',
  'packages/store/src/queue/postgres-queue.ts',
  'packages/store/src/queue/postgres-events.ts',
  'packages/store/src/queue/store-status.ts',
  'packages/store/src/queue/open-hint-queue.ts',
  'packages/store/src/queue/redis-connection.ts',
  'packages/flows/src/deliver-recipients.ts',
  'packages/flows/src/begin-delivery.ts',
  'packages/flows/src/run-delivery.ts',
  'packages/flows/src/ask-patiently.ts',
  'packages/store/src/lease-deliveries.ts',
  'packages/store/src/ask-together.ts',
  'packages/flows/src/held-leases.ts',
  'packages/flows/src/give-back.ts',
  'packages/flows/src/dot-marks.ts',
  'packages/flows/src/isolate-suspects.ts',
  'packages/flows/src/watch-deadlines.ts',
  'packages/store/src/deadlines.ts',
  'packages/flows/src/route-directory.ts',
  'packages/store/src/route-plan.ts',
  'packages/flows/src/choose-route.ts',
  'packages/flows/src/choose-source.ts',
  'packages/flows/src/warm-up-budget.ts',
  'packages/flows/src/route-breaker.ts',
  'packages/flows/src/late-release.ts',
  'packages/flows/src/find-destination.ts',
  'packages/flows/src/note-destinations.ts',
  'packages/store/src/destinations.ts',
  'packages/courier/src/dns/mail-exchangers.ts',
  'packages/courier/src/dns/look-up.ts',
  'packages/courier/src/dns/resolver.ts',
  'packages/flows/src/receiver-tls.ts',
  'packages/courier/src/tls-policy/tls-policies.ts',
  'packages/courier/src/tls-policy/mta-sts.ts',
  'packages/courier/src/tls-policy/mta-sts-documents.ts',
  'packages/courier/src/tls-policy/tls-reports.ts',
  'packages/store/src/tls-policies.ts',
  'packages/store/src/tls-reports.ts',
  'packages/flows/src/shape-sites.ts',
  'packages/flows/src/throttle-rules.ts',
  'packages/flows/src/site-places.ts',
  'packages/flows/src/mail-slots.ts',
  'packages/flows/src/pace-book.ts',
  'packages/flows/src/pace-commit.ts',
  'packages/store/src/shaping-state.ts',
  'packages/store/src/site-permits.ts',
  'packages/flows/src/compositions.ts',
  'packages/flows/src/sign-mail.ts',
  'packages/store/src/signing-keys.ts',
  'packages/flows/src/return-path.ts',
  'packages/store/src/return-path-hosts.ts',
  'packages/courier/src/site-scheduler.ts',
  'packages/courier/src/open-first.ts',
  'packages/courier/src/open-session.ts',
  'packages/courier/src/connect.ts',
  'packages/courier/src/smtp-session.ts',
  'packages/courier/src/smtp-wire.ts',
  'packages/flows/src/settle-desk.ts',
  'packages/store/src/settle-attempts.ts',
  'packages/store/src/sensitive-bodies.ts',
  'packages/store/src/suppress-mailboxes.ts',
  'packages/flows/src/dispatch-webhooks.ts',
  'packages/flows/src/webhook-try.ts',
  'packages/store/src/webhook-outbox.ts',
  'packages/store/src/webhook-batches.ts',
  'packages/courier/src/web-http.ts',
  'packages/courier/src/outgoing-http.ts',
] as const

export interface CrashPoint {
  /** Its place in the list of all. */
  id: number
  /** `packages/flows/src/batcher.ts:47:5 before`: where the await is, from 1. */
  name: string
}

export interface PreparedSources {
  points: CrashPoint[]
  /** Path of the original → path of the copy, both absolute. */
  copies: Record<string, string>
}

/** Writes the copies into `folder`; with `withPoints` false only those of files that `changes` are about. */
export function prepareSources(
  root: string,
  folder: string,
  withPoints: boolean,
  changes: readonly SourceChange[],
): PreparedSources {
  const points: CrashPoint[] = []
  const copies: Record<string, string> = {}
  const changed = changes.map(({ file }) => file)
  for (const file of new Set([...changed, ...(withPoints ? wayOfAMail : [])])) {
    const text = changeSource(file, readFileSync(path.join(root, file), 'utf8'), changes)
    const isOnTheWay = withPoints && (wayOfAMail as readonly string[]).includes(file)
    copies[path.join(root, file)] = writeCopy(
      folder,
      file,
      isOnTheWay ? markAwaits(file, text, points) : text,
    )
  }
  return { points, copies }
}

/**
 * Writes what the hook is to hand out for `file`: without types, once for all processes; what stands where stays.
 *
 * @returns where it is
 */
export function writeCopy(folder: string, file: string, text: string): string {
  const copy = path.join(folder, file.replaceAll('/', '+'))
  mkdirSync(folder, { recursive: true })
  writeFileSync(copy, stripTypeScriptTypes(text))
  return copy
}

/** The text with every await marked; adds its two points to the list. */
export function markAwaits(file: string, text: string, points: CrashPoint[]): string {
  const source = ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true)
  const insertions: { at: number; text: string }[] = []
  const walk = (node: ts.Node): void => {
    const waited = waitedFor(node)
    if (waited !== null) {
      const { line, character } = source.getLineAndCharacterOfPosition(waited.getStart(source))
      const where = `${file}:${line + 1}:${character + 1}`
      const before = points.push({ id: points.length, name: `${where} before` }) - 1
      const after = points.push({ id: points.length, name: `${where} after` }) - 1
      // It begins with a name: a line that began with a bracket would be read as a call of the line above it.
      const opening = `__torture.after(${after}, (__torture.before(${before}), `
      insertions.push({ at: waited.getStart(source), text: opening }, { at: waited.getEnd(), text: '))' })
    }
    ts.forEachChild(node, walk)
  }
  walk(source)
  // From the end, so that the positions before stay right.
  insertions.sort((one, other) => other.at - one.at)
  let marked = text
  for (const { at, text: inserted } of insertions) marked = marked.slice(0, at) + inserted + marked.slice(at)
  return marked
}

/** What is waited for: an await as a whole, of `for await` the thing that is gone through. */
function waitedFor(node: ts.Node): ts.Expression | null {
  if (ts.isAwaitExpression(node)) return node
  return ts.isForOfStatement(node) && node.awaitModifier !== undefined ? node.expression : null
}
