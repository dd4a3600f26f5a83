/** What both ways to ask about a link share: the token in the path, and what is no link of ours. */
import { ProductError } from '@valija/core'
import { type Budgets, createBudgets } from '@valija/flows'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { lostPage, sendPage } from './page.ts'

/** A wildcard, whose length the router does not limit: an address of 254 octets makes a token of 430 characters. */
export const linkPath = '/unsubscribe/*'

export const tokenOf = (request: FastifyRequest) => (request.params as { '*': string })['*']

/** Wrong links from one address. Right ones are not counted: a mailbox provider sends those of all its users. */
const wrongLinks = { count: 100, perMs: 60_000, remembered: 10_000 }

export const createWrongLinkBudgets = () => createBudgets(wrongLinks)

/** @throws {ProductError} rate_limited */
export function sendLost(request: FastifyRequest, reply: FastifyReply, budgets: Budgets): FastifyReply {
  const waitMs = budgets.take(request.ip)
  if (waitMs > 0) {
    const detail = `There were over ${wrongLinks.count} wrong links from this address within ${wrongLinks.perMs / 1_000} s.`
    throw new ProductError('rate_limited', { detail, retryAfterS: Math.ceil(waitMs / 1_000) })
  }
  return sendPage(reply, 404, lostPage)
}
