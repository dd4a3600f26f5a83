/** The two streams of a tenant's mail: what a person waits for, and what can wait. They have queues and limits of their own. */
export const streams = ['transactional', 'bulk'] as const
export type Stream = (typeof streams)[number]

/** How much of a tenant's share each has while both have something to send (DESIGN 4.14). */
export const streamWeights: Record<Stream, number> = { transactional: 4, bulk: 1 }
