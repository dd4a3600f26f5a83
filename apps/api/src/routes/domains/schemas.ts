/** What the routes of sender domains take and answer. */

import type { DomainRecord, DomainView } from '@valija/flows'
import { recordFaults } from '@valija/mail'
import { Type } from 'typebox'
import { named, nullable, ref, strictObject, time } from '../../route.ts'

const algorithm = Type.Unsafe<DomainView['dkim_algorithms'][number]>(Type.Enum(['rsa', 'ed25519']))

const changes = {
  vouched: Type.Optional(Type.Boolean({ description: 'Operator only: verified without DNS.' })),
  dkim: Type.Optional(
    Type.Boolean({ description: 'Operator only, for vouched domains: sign without looking at DNS.' }),
  ),
  dkim_algorithms: Type.Optional(
    Type.Array(algorithm, {
      minItems: 1,
      maxItems: 2,
      uniqueItems: true,
      description: 'How its mails are signed: RSA-2048, Ed25519, or both (the default).',
    }),
  ),
  return_path_host: Type.Optional(
    Type.String({
      description:
        'The name below the domain that bounces come back to, an alias (CNAME) of ours; `bounce` when it was never said.',
    }),
  ),
}

export const DomainInput = named(
  'DomainInput',
  strictObject({
    name: Type.String({ description: 'At least two labels; a name that is not ASCII is converted (IDNA).' }),
    ...changes,
  }),
)

export const DomainChange = named('DomainChange', strictObject(changes))

export const RotationInput = named('RotationInput', {
  ...strictObject({
    keys: Type.Optional(
      Type.Array(
        strictObject({
          private_key: Type.String({
            maxLength: 16_384,
            description:
              'In PEM, without a passphrase: RSA of 1024 to 4096 bits, or Ed25519. It is never shown again.',
          }),
          selector: Type.Optional(
            Type.String({
              maxLength: 200,
              description: 'The name of its record before `._domainkey`; made up if absent.',
            }),
          ),
        }),
        {
          minItems: 1,
          maxItems: 2,
          description: 'Keys of your own, one of each algorithm at most. Absent: they are made here.',
        },
      ),
    ),
  }),
  type: ['object', 'null'],
})

const DnsRecord = named(
  'DnsRecord',
  Type.Object(
    {
      purpose: Type.Unsafe<DomainRecord['purpose']>(
        Type.Enum(['ownership', 'dkim', 'return_path', 'spf', 'dmarc', 'tracking']),
      ),
      type: Type.Unsafe<DomainRecord['type']>(Type.Enum(['TXT', 'CNAME'])),
      name: Type.String({ description: 'Its full name.' }),
      host: Type.String({
        description:
          'Its name below the registered domain, as forms of DNS providers ask for it; `@` for that domain itself.',
      }),
      value: Type.String(),
      priority: nullable(Type.Integer({ description: 'Of MX records.' })),
      required: Type.Boolean({
        description: 'Without ownership the domain is not verified, without dkim its mails are not signed.',
      }),
      state: Type.Unsafe<DomainRecord['state']>({
        type: ['string', 'null'],
        enum: ['next', 'active', 'retiring', null],
        description:
          'Of a DKIM key: next (signs once its record is seen), active, or retiring (signs no more, its record is to stay for a while).',
      }),
      status: Type.Unsafe<DomainRecord['status']>(Type.Enum(['ok', 'missing', 'wrong', 'unchecked'])),
      found: Type.Array(Type.String(), { description: 'What DNS answered at the last look.' }),
      fault: Type.Unsafe<DomainRecord['fault']>({
        type: ['string', 'null'],
        description: `What is wrong, as a word: ${Object.keys(recordFaults).join(', ')}.`,
      }),
      fix: Type.String({ description: 'What was found to be wrong, and what to do about it.' }),
      checked_at: nullable(Type.String({ format: 'date-time', description: 'When DNS was asked last.' })),
      resolver: nullable(
        Type.String({
          description:
            'Which of the installation’s resolvers answered: `the resolver`, or `resolver 2` of several. Their addresses are the operator’s to know.',
        }),
      ),
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
      dkim_algorithms: Type.Array(algorithm, { description: 'How its mails are signed.' }),
      return_path_host: Type.String({
        description: 'What bounces come back to, once its record is seen.',
      }),
      verified_at: nullable(
        Type.String({ format: 'date-time', description: 'When its ownership was seen; null before.' }),
      ),
      failing_since: nullable(
        Type.String({
          format: 'date-time',
          description: 'Since when the ownership record has been missing.',
        }),
      ),
      sending_stops_at: nullable(
        Type.String({
          format: 'date-time',
          description:
            'When a verified domain without its ownership record becomes failed, and stops sending.',
        }),
      ),
      summary: Type.String({
        description: 'How it stands and what is still to be published or mended, in one sentence.',
      }),
      records: Type.Array(ref(DnsRecord)),
      notes: Type.Array(Type.String(), {
        description: 'Which records are left out for how the installation is set up.',
      }),
      created_at: time('When it was added.'),
    },
    { description: 'A sender domain.' },
  ),
)

export const domainSchemas = [DnsRecord, Domain, DomainInput, DomainChange, RotationInput]
