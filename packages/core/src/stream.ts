/** The two streams of a tenant's mail: what a person waits for, and what can wait. They have queues and limits of their own. */
export const streams = ['transactional', 'bulk'] as const
export type Stream = (typeof streams)[number]
