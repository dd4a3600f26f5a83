/** What the routes of sender domains take and answer. */
import { Type } from '@fastify/type-provider-typebox'
import type { DomainRecord, DomainView } from '@valija/flows'
import { named, nullable, ref, strictObject, time } from '../../route.ts'

const vouching = {
  vouched: Type.Optional(Type.Boolean({ description: 'Operator only: verified without DNS.' })),
  dkim: Type.Optional(
    Type.Boolean({ description: 'Operator only, for vouched domains: sign without looking at DNS.' }),
  ),
}

export const DomainInput = named(
  'DomainInput',
  strictObject({
    name: Type.String({ description: 'At least two labels; a name that is not ASCII is converted (IDNA).' }),
    ...vouching,
  }),
)

export const DomainChange = named('DomainChange', strictObject(vouching))

const DnsRecord = named(
  'DnsRecord',
  Type.Object(
    {
      purpose: Type.String({ description: 'What it is for, such as ownership.' }),
      type: Type.String({ description: 'TXT, CNAME, MX …' }),
      name: Type.String({ description: 'Its full name.' }),
      host: Type.String({
        description: 'Its name below the registered domain, as forms of DNS providers ask for it.',
      }),
      value: Type.String(),
      priority: nullable(Type.Integer({ description: 'Of MX records.' })),
      required: Type.Boolean({ description: 'Whether the domain is not verified without it.' }),
      status: Type.Unsafe<DomainRecord['status']>(Type.Enum(['ok', 'missing', 'wrong', 'unchecked'])),
      found: Type.Array(Type.String(), { description: 'What DNS answered at the last look.' }),
      fix: Type.String({ description: 'What to do about it.' }),
    },
    { description: 'A DNS record to publish, and what was found.' },
  ),
)

export const Domain = named(
  'Domain',
  Type.Object(
    {
      id: Type.String({ pattern: '^dom_[0-9a-f]{32}$' }),
      name: Type.String({ description: 'In A-labels.' }),
      status: Type.Unsafe<DomainView['status']>(Type.Enum(['pending', 'verified', 'failed'])),
      vouched: Type.Boolean({ description: 'The operator stands in for it.' }),
      dkim: Type.Boolean({ description: 'Signed although DNS was not asked.' }),
      records: Type.Array(ref(DnsRecord)),
      created_at: time('When it was added.'),
    },
    { description: 'A sender domain.' },
  ),
)

export const domainSchemas = [DnsRecord, Domain, DomainInput, DomainChange]
