/** What others report about a sender domain, as GET /domains/:id/reports answers it. */

import { dmarcCauses } from '@valija/core'
import { Type } from 'typebox'
import { named, nullable, ref } from '../../route.ts'

const count = (description: string) => Type.Integer({ description })
const share = (description: string) => nullable(Type.Number({ minimum: 0, maximum: 1, description }))
const advice = {
  meaning: Type.String({ description: 'What it means.' }),
  fix: Type.String({ description: 'What to do.' }),
}

const DmarcSum = named(
  'DmarcSum',
  Type.Object(
    {
      reports: count('How many reports were summed up.'),
      messages: count('Mails with this domain in From.'),
      passed: count('Of them with a valid signature, or a passed SPF, of the domain in From.'),
      pass_share: share('passed / messages; null without messages.'),
      dispositions: Type.Object({
        none: count('Not held against them.'),
        quarantine: count('Put aside.'),
        reject: count('Refused.'),
      }),
      reporters: Type.Array(
        Type.Object({
          name: Type.String({ description: 'By its own word.', examples: ['google.com'] }),
          messages: count('Mails that it saw.'),
          passed: count('Of them passed.'),
        }),
        { description: 'The 20 that saw most.' },
      ),
      failing_sources: Type.Array(
        Type.Object({
          ip: nullable(Type.String({ description: 'Null: the rest of a report that had too many.' })),
          ours: Type.Boolean({ description: 'One of the addresses that this installation sends from.' }),
          header_from: nullable(Type.String({ description: 'The domain in From.' })),
          signed_by: nullable(Type.String({ description: 'The domain of another valid signature.' })),
          spf_domain: nullable(Type.String({ description: 'The domain for which SPF passed.' })),
          messages: count('Mails that did not pass.'),
          blocked: count('Of them put aside or refused.'),
          cause: Type.Enum([...dmarcCauses]),
          ...advice,
        }),
        { description: 'Where mails came from that did not pass: the 20 largest.' },
      ),
    },
    { description: 'What DMARC aggregate reports say (RFC 7489, RFC 9990).' },
  ),
)

const TlsSum = named(
  'TlsSum',
  Type.Object(
    {
      reports: count('How many reports were summed up.'),
      sessions: count('Sessions with hosts that take mail for this domain.'),
      failed: count('Of them without the TLS that was wanted.'),
      success_share: share('Of the sessions; null without any.'),
      reporters: Type.Array(
        Type.Object({
          name: Type.String({ description: 'By its own word.' }),
          sessions: count('Sessions that it had.'),
          failed: count('Of them failed.'),
        }),
        { description: 'The 20 that had most.' },
      ),
      failures: Type.Array(
        Type.Object({
          reason: Type.String({
            description:
              'By its name in RFC 8460, section 4.3; or unspecified, or what the reporter calls it.',
            examples: ['certificate-expired'],
          }),
          mx: nullable(Type.String({ description: 'The receiving host, where it is told.' })),
          policy: Type.Enum(['tlsa', 'sts', 'no-policy-found'], { description: 'What applied.' }),
          sessions: count('Sessions that failed so.'),
          ...advice,
        }),
        { description: 'The 20 most frequent.' },
      ),
    },
    { description: 'What TLS reports say about mail to this domain (RFC 8460).' },
  ),
)

// A schema that is null or a reference has no single type for `nullable`.
const orNull = <T extends Parameters<typeof ref>[0]>(schema: T) => Type.Union([ref(schema), Type.Null()])
export const reportSums = { dmarc: orNull(DmarcSum), tls: orNull(TlsSum) }

export const ReportDay = named(
  'ReportDay',
  Type.Object(
    {
      day: Type.String({
        format: 'date',
        description: 'In UTC; of a report, the day that its middle lies in.',
        examples: ['2026-11-23'],
      }),
      ...reportSums,
    },
    { description: 'What was reported about a day; null where nobody did.' },
  ),
)

export const reportSchemas = [DmarcSum, TlsSum, ReportDay]
