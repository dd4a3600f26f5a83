/**
 * When a hold of a tenant's mail begins, as a row of `tenant_suspensions`: a suspension, or a pause of one stream. A tenant's are told apart
 * by the millisecond in which they begin, so one that begins in the same as another (both asked for at once) is written as a later one.
 *
 * @param since an SQL operand: the time as the tenant's row keeps it, whose lock lets one such statement go on at a time
 */
export const holdBeginSql = (tenantId: string, since: string): string =>
  `greatest(${since}, (SELECT max(known.began_at) + interval '1 ms' FROM valija.tenant_suspensions AS known
    WHERE known.tenant_id = ${tenantId} AND known.began_at BETWEEN ${since} AND ${since} + interval '1 s'))`
