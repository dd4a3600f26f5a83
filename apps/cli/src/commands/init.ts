/** `valija init`: the first run in production. */
import { command } from '../command.ts'
import { jsonFlag } from '../output.ts'

export const initCommand = command({
  name: 'init',
  summary: 'the first run in production: keys, database, tenant, domain, then a look at everything',
  details:
    'Looks at each step whether it was done before, so it is run again after every thing that it left to you. Works at the database (DATABASE_URL); ' +
    'writes VALIJA_SECRET_KEY, VALIJA_ADMIN_KEY and VALIJA_DELIVERY into .env where they are not set, and overwrites nothing. Exit code 0 when all is done, 1 while a step failed or waits for you.',
  flags: {
    domain: { type: 'string', value: '<domain>', help: 'the domain that mail is sent from' },
    tenant: {
      type: 'string',
      value: '<name>',
      help: 'the tenant that it is for, made when there is none of the name; the domain',
    },
    delivery: { type: 'string', value: '<mx|smarthost>', help: 'how mail leaves, where that is not set yet' },
    'test-to': {
      type: 'string',
      value: '<address>',
      help: 'once the domain is verified: a test mail to this address',
    },
    ...jsonFlag,
  },
  example: 'init --domain acme.example --delivery mx',
  run: async ({ flags }) => (await import('../init.ts')).init(flags),
})
