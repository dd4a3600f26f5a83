/**
 * For the rest of a transaction: each named statement keeps one plan. PostgreSQL would plan anew each time, because it takes one plan for all
 * partitions to read them all: of settling five mails that was the longer half, of a suppression over a month of partitions 30 ms against 1 ms.
 * None reads a table whole because it was empty when the plan was made, as tomorrow's partitions are.
 */
export const planOnce = 'SET LOCAL plan_cache_mode = force_generic_plan; SET LOCAL enable_seqscan = off'
