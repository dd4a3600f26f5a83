/**
 * Now, as a due time. Columns of due times keep milliseconds and PostgreSQL rounds to the nearest one: `now()` itself may be stored up
 * to half a millisecond ahead, and is not due yet for a statement that follows at once.
 */
export const dueNowSql = `date_trunc('milliseconds', now())`
