/**
 * What `mx` needs besides: a resolver that answers, and a name for EHLO that receivers take. Without these mail is accepted and goes
 * nowhere, so it is better accepted elsewhere.
 *
 * The resolver is asked rarely, and only while somebody wants to know: /readyz answers from what was found last.
 */
import { setTimeout as delay } from 'node:timers/promises'
import type { Resolver } from '@valija/courier'
import { isFullyQualified } from '@valija/flows'
import type { Readiness, ReadinessCheck } from './dependencies.ts'

export interface MxReadinessParts {
  resolver: Pick<Resolver, 'resolve'>
  /** Names to ask for; any answer counts, also that there is no such name. */
  askedNames: readonly string[]
  /** The names that EHLO says at present. */
  ehloNames: () => readonly string[]
  /** Other ports than 25 are for tests, whose machines may be called anything. */
  mxPort: number
  /** Monotonic, in milliseconds. */
  now?: () => number
}

/** What was found holds so long. */
const heldMs = 10_000
/** A look that takes longer is not waited for: what it finds is for the next one. */
const patienceMs = 500

interface Finding {
  fault: string | null
  atMs: number
}

/** @returns never rejects */
export function createMxReadiness(parts: MxReadinessParts): () => Promise<Readiness> {
  const now = parts.now ?? (() => performance.now())
  let known: Finding = { fault: 'No answer has come yet.', atMs: Number.NEGATIVE_INFINITY }
  let underWay: Promise<void> | null = null

  const look = async () => {
    const fault = await findResolverFault(parts)
    known = { fault, atMs: now() }
    underWay = null
  }
  return async () => {
    if (now() - known.atMs >= heldMs) {
      underWay ??= look()
      const patience = new AbortController()
      const tired = delay(patienceMs, undefined, { signal: patience.signal }).catch(() => undefined)
      await Promise.race([underWay, tired])
      patience.abort()
    }
    const name = judgeNames(parts.ehloNames())
    const isNameEssential = parts.mxPort === 25
    return {
      isReady: known.fault === null && (name.isUsable || !isNameEssential),
      checks: [resolverCheck(known.fault), name.check],
    }
  }
}

/** Null as soon as one of the questions is answered. */
async function findResolverFault({ resolver, askedNames }: MxReadinessParts): Promise<string | null> {
  const questions = askedNames.map(async (name) => {
    const answer = await resolver.resolve(name, 'MX')
    if (answer.kind === 'unavailable') throw new Error(answer.detail)
  })
  try {
    await Promise.any(questions)
    return null
  } catch (error) {
    const [first] = (error as AggregateError).errors
    return first instanceof Error ? first.message : 'there is nothing to ask for'
  }
}

function resolverCheck(fault: string | null): ReadinessCheck {
  const detail =
    fault === null
      ? 'The resolver answers.'
      : `No resolver answers, so no receiver can be found: ${fault} Set VALIJA_DNS_SERVERS, or see "valija doctor".`
  return { name: 'resolver', isOk: fault === null, detail }
}

function judgeNames(names: readonly string[]): { isUsable: boolean; check: ReadinessCheck } {
  const bad = names.filter((name) => !isFullyQualified(name))
  const detail =
    bad.length === 0
      ? `EHLO says ${names.join(', ')}.`
      : `EHLO says ${bad.join(', ')}, which is no full host name, and many receivers refuse it: set VALIJA_EHLO_NAME to one that has this machine's public address.`
  return { isUsable: bad.length < names.length, check: { name: 'ehlo_name', isOk: bad.length === 0, detail } }
}
