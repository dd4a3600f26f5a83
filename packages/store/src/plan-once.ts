/**
 * For the rest of a transaction: each named statement keeps one plan. PostgreSQL would plan anew each time, because it takes one plan for all
 * partitions to read them all: of settling five mails that was the longer half, of a suppression over a month of partitions 30 ms against 1 ms.
 * Its price are locks: a kept plan is for all partitions, and whoever executes it has a lock on each, of settling on those of one table and some indexes,
 * 125 with 106 days, 86 of which go into the table that all connections share (with max_locks_per_transaction = 256 PostgreSQL 18 has 64 of them there, and the others on
 * the fast path of the connection). Who makes the plan locks all that it
 * names: 577, once for a connection. So PostgreSQL needs room for them: max_locks_per_transaction in docs/operations.md, which `valija doctor` looks at.
 * None reads a table whole because it was empty when the plan was made, as tomorrow's partitions are.
 */
export const planOnce = 'SET LOCAL plan_cache_mode = force_generic_plan; SET LOCAL enable_seqscan = off'

/**
 * For the rest of a transaction that asks `deliveries` for rows of a state, in the order of the index that is meant.
 *
 * Each mail leaves dead rows in those indexes, some thousands until a vacuum comes. A bitmap visits them all again each time; a plain index
 * scan marks those that nobody can see any more, so that each is met once: to count 75 rows among 6,000 dead ones took 0.65 ms, and
 * 0.02 after that. And a plan that is made while nothing waits would take any index of what waits, read all of it and sort.
 */
export const inIndexOrder = 'SET LOCAL enable_bitmapscan = off; SET LOCAL enable_sort = off'
