/** An embedded PostgreSQL that cannot be had. The message is one or two sentences for the operator, fit to be printed alone. */
export class EmbeddedPostgresError extends Error {
  override name = 'EmbeddedPostgresError'
}
