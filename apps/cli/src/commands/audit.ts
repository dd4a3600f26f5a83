/** `valija audit`: who changed what of the management. */
import { apiFlags, openApi, openApiAsOperator } from '../api-client.ts'
import { command, UsageError } from '../command.ts'
import { given } from '../flag-values.ts'
import { listFlags, pageQuery, printList } from '../output.ts'

export const auditCommand = command({
  name: 'audit',
  summary: 'who changed what of the management, newest first',
  details: 'The count is of things changed; 0: it was done, and changed nothing.',
  flags: {
    action: { type: 'string', value: '<action>', help: 'such as webhook.created or key.revoked' },
    actor: { type: 'string', value: '<key id|operator>', help: 'what this key did, or the operator' },
    target: { type: 'string', value: '<id>', help: 'what was done to this' },
    after: { type: 'string', value: '<time>', help: 'done at or after' },
    before: { type: 'string', value: '<time>', help: 'done before' },
    'all-tenants': {
      type: 'boolean',
      help: 'with the operator’s key: of all tenants, and of the operator alone',
    },
    ...apiFlags,
    ...listFlags,
  },
  example: 'audit --action key.created --after 2026-11-23T00:00:00Z',
  run: async ({ flags }) => {
    const { action, actor, target, after, before, tenant, 'all-tenants': isForAll } = flags
    if (isForAll && tenant !== undefined) throw new UsageError('Say one of --tenant and --all-tenants.')
    const api = await (isForAll ? openApiAsOperator : openApi)(flags)
    const query = { ...given({ action, key: actor, target, after, before }), ...pageQuery(flags) }
    await printList(api.list('GET /audit', { query }), flags, {
      time: ({ timestamp }) => timestamp,
      action: ({ action }) => action,
      target: ({ target }) => target,
      count: ({ count }) => count,
      by: ({ actor }) =>
        actor.type === 'operator' ? 'operator' : `${actor.key_name ?? ''} ${actor.key_id}`.trim(),
      from: ({ client_ip }) => client_ip,
      ...(isForAll && { tenant: ({ tenant_id }) => tenant_id }),
      fields: ({ fields }) => fields.join(' '),
    })
  },
})
