/** MTA-STS policies of mail domains, shared by all workers. Their age is judged by PostgreSQL's clock. */
import type pg from 'pg'

export interface StsPolicyRow {
  /** Of the TXT record that announced it. */
  id: string
  /** The policy file. */
  text: string
  maxAgeSeconds: number
  /** Since it was fetched. */
  ageMs: number
}

/** @returns the domain's policy while it is valid, else null */
export async function findStsPolicy(pool: pg.Pool, domain: string): Promise<StsPolicyRow | null> {
  const result = await pool.query<StsPolicyRow>({
    name: 'find-sts-policy',
    text: `SELECT policy_id AS id, policy AS text, max_age_seconds AS "maxAgeSeconds",
                  (extract(epoch FROM now() - fetched_at) * 1000)::float8 AS "ageMs"
             FROM valija.mta_sts_policies
            WHERE domain = $1 AND fetched_at + make_interval(secs => max_age_seconds) > now()`,
    values: [domain],
  })
  return result.rows[0] ?? null
}

/** Keeps a policy that was fetched just now, in place of the one that was. */
export async function saveStsPolicy(
  pool: pg.Pool,
  domain: string,
  policy: { id: string; text: string; maxAgeSeconds: number },
): Promise<void> {
  await pool.query({
    name: 'save-sts-policy',
    text: `INSERT INTO valija.mta_sts_policies (domain, policy_id, policy, max_age_seconds) VALUES ($1, $2, $3, $4)
           ON CONFLICT (domain) DO UPDATE SET policy_id = excluded.policy_id, policy = excluded.policy,
             max_age_seconds = excluded.max_age_seconds, fetched_at = excluded.fetched_at`,
    values: [domain, policy.id, policy.text, policy.maxAgeSeconds],
  })
}

/** Forgets policies whose time is over, some thousands at once. */
export async function forgetOldStsPolicies(pool: pg.Pool): Promise<number> {
  const result = await pool.query(
    `DELETE FROM valija.mta_sts_policies WHERE domain = ANY (ARRAY(
       SELECT domain FROM valija.mta_sts_policies
       WHERE fetched_at + make_interval(secs => max_age_seconds) < now() LIMIT 1000))`,
  )
  return result.rowCount ?? 0
}
