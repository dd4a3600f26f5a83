/** What tests ask of refusals: that each is a problem, and names the place of the fault and no other. */
import { expect } from 'vitest'
import type { Answer } from './http.ts'
import { forEachOf, type ProblemBody } from './messages.ts'
import type { Valija } from './valija.ts'

/** Fields that replace those of a valid mail, and the JSON pointer at which that must be refused. */
export type Refusal = { what: string; body: Record<string, unknown>; path: string }

/** Requests under way at once. */
const WIDTH = 8

export const isProblem = (headers: Headers): boolean =>
  /^application\/problem\+json(?:;|$)/.test(headers.get('content-type') ?? '')

/** What is wrong with an answer that should be a 400 at this path; null when nothing is. */
export function complaintAbout(answer: Answer<ProblemBody>, path: string): string | null {
  const { status, headers, json, text } = answer
  if (status !== 400) return `${status}: ${text}`
  if (!isProblem(headers)) return `${headers.get('content-type')}`
  if (json.code !== 'invalid_request' || json.status !== 400 || !json.fix) return text
  return json.errors?.some((error) => error.path === path && error.message) ? null : `not at ${path}: ${text}`
}

/** Posts every one, and expects each to be refused at its path and nowhere else. */
export async function expectRefusedAt(valija: Valija, refusals: Refusal[]): Promise<void> {
  const complaints = await forEachOf(refusals, WIDTH, async ({ what, body, path }) => {
    const answer = await valija.api<ProblemBody>('POST', '/send', valija.mail(body))
    const wrong = complaintAbout(answer, path)
    if (wrong !== null) return `${what}: ${wrong}`
    const elsewhere = answer.json.errors?.filter((error) => error.path !== path) ?? []
    return elsewhere.length > 0 ? `${what}: also at ${elsewhere.map((error) => error.path)}` : null
  })
  expect(complaints.filter((entry) => entry !== null)).toEqual([])
}
