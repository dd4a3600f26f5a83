/**
 * Texts of the API as somebody at a terminal needs them: what they tell to ask over HTTP, as the command that does it. What no command does
 * stays as it is.
 */

/** Requests, with `:id` for any id, and what is typed instead; `$id` and `$value` are what stood there. A change is told by its field. */
const commandOf: Readonly<Record<string, string>> = {
  'POST /domains': 'domain add',
  'GET /domains': 'domain list',
  'GET /domains/:id': 'domain show $id',
  'PATCH /domains/:id': 'domain update $id',
  'PATCH /domains/:id dkim=true': 'domain update $id --dkim yes',
  'GET /domains/:id/reports': 'domain reports $id',
  'POST /domains/:id/verify': 'domain verify $id',
  'GET /inbox': 'inbox list',
  'GET /inbox?to': 'inbox list --to $value',
  'GET /keys': 'key list',
  'GET /keys/:id': 'key show $id',
  'GET /mailboxes': 'mailbox list',
  'GET /mailboxes/:id': 'mailbox show $id',
  'PATCH /mailboxes/:id': 'mailbox update $id',
  'POST /mailboxes/:id/test': 'mailbox test $id',
  'GET /messages': 'message list',
  'GET /messages?status': 'message list --status $value',
  'GET /messages/:id': 'message show $id',
  'GET /messages/:id/attempts': 'message attempts $id',
  'GET /queue': 'queue',
  'GET /routes': 'route list',
  'POST /routes': 'route create',
  'GET /routes/:id': 'route show $id',
  'PATCH /routes/:id': 'route update $id',
  'POST /routes/:id/resume': 'route resume $id',
  'GET /route-lists': 'route-list list',
  'POST /route-lists': 'route-list create',
  'PATCH /route-lists/:id': 'route-list update $id …',
  'GET /source-ips': 'source-ip list',
  'POST /source-ips': 'source-ip create',
  'PATCH /source-ips/:id': 'source-ip resume $id',
  'GET /stats': 'stats',
  'GET /stats?group_by': 'stats --by $value',
  'GET /suppressions': 'suppression list',
  'PATCH /suppressions/:id status=active': 'suppression confirm $id',
  'GET /suppressions?email': 'suppression list --email $value',
  'GET /suppressions?status': 'suppression list --status $value',
  'GET /templates': 'template list',
  'GET /templates?slug': 'template show $value',
  'GET /templates/:id/versions': 'template show $id',
  'POST /templates/:id/publish': 'template publish $id',
  'GET /tenants': 'tenant list',
  'PATCH /tenants/:id bulk_paused=false': 'tenant update $id --bulk-paused no',
  'PATCH /tenants/:id status=active': 'tenant resume $id',
  'GET /webhooks': 'webhook list',
  'GET /webhooks/:id': 'webhook show $id',
  'GET /webhooks/:id/deliveries': 'webhook deliveries $id',
  'GET /webhooks/:id/pending': 'webhook pending $id',
  'POST /webhooks/:id/rotate-secret': 'webhook rotate-secret $id',
  'POST /webhooks/:id/test': 'webhook test $id',
}

const request =
  /\b(GET|POST|PATCH) (\/[a-z-]+)(\/(?::id|[a-z]{3}_[0-9a-f]{32}))?(\/[a-z-]+)?(?:\?(\w+)=([^\s,;)]*[^\s,;:.)])?)?(?: with \{?"(\w+)": ?"?(\w+)"?\}?)?/g

/** A request with the command beside it. */
const told = /\b(?:GET|POST|PATCH) \/\S+(?: with \{[^}]*\})? \(npm run valija -- ([^)]+)\)/g

export function inCommands(text: string): string {
  return text
    .replace(told, '"$1"')
    .replace(request, (all: string, method: string, ...parts: (string | undefined)[]) => {
      const [collection, id, action = '', key, value = '…', field, to] = parts
      const name = `${method} ${collection}${id === undefined ? '' : '/:id'}${action}${key === undefined ? '' : `?${key}`}${field === undefined ? '' : ` ${field}=${to}`}`
      const found = Object.hasOwn(commandOf, name) ? commandOf[name] : undefined
      if (found === undefined) return all
      const given = id === undefined || id === '/:id' ? '<id>' : id.slice(1)
      return `"${found.replace('$id', () => given).replace('$value', () => value)}"`
    })
    .replace(/\?reason= for all/, '--reason for all')
    .replace(/\("vouched": true\)/, '("domain add --vouched")')
    .replace(/[;.] detail names [^.;]*(?=[.;]|$)/, '')
}

/** `1 event`, `2 events`. */
export const counted = (count: number, one: string, many = `${one}s`) =>
  `${count} ${count === 1 ? one : many}`
