/** What the return path of a mail reads: the verified domains above its From address, with the hosts that DNS was seen to lead to us. */
import type { Uuid } from '@valija/core'
import type pg from 'pg'

export interface ReturnPathDomain {
  name: string
  tenantId: Uuid
  /** Null: its record was not right when DNS last answered. */
  host: string | null
}

/**
 * The verified domains among these names, over all tenants.
 *
 * @param names a domain and those above it
 * @param bounceDomain where the host's alias has to lead: an alias that was right for another one counts no more
 */
export async function findReturnPathDomains(
  engine: pg.Pool,
  names: readonly string[],
  bounceDomain: string,
): Promise<ReturnPathDomain[]> {
  const { rows } = await engine.query<ReturnPathDomain>({
    name: 'find-return-path-domains',
    text: `
SELECT d.name, d.tenant_id AS "tenantId", c.name AS host
FROM valija.domains AS d
LEFT JOIN valija.domain_checks AS c
  ON c.domain_id = d.id AND c.tenant_id = d.tenant_id AND c.type = 'CNAME' AND c.name = d.return_path_label || '.' || d.name
  AND c.status = 'ok' AND c.found = ARRAY[$2]
WHERE d.name = ANY ($1) AND d.status = 'verified'`,
    values: [names, bounceDomain],
  })
  return rows
}
