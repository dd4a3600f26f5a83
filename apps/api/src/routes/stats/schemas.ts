/** What /stats takes and answers. */
import { streams } from '@valija/core'
import { statsGroups } from '@valija/store'
import { type TInteger, Type } from 'typebox'
import { timeQuery } from '../../query-time.ts'
import { named, nullable, strictObject, time } from '../../route.ts'

const count = (description: string) => Type.Integer({ minimum: 0, description })
const rate = (description: string) =>
  nullable(Type.Number({ minimum: 0, maximum: 1, description: `${description} Null without any.` }))
const byReason = (description: string) =>
  Type.Record(Type.String(), Type.Integer(), { description, examples: [{ mailbox_unknown: 3 }] })
const group = (description: string) => Type.Optional(nullable(Type.String({ description })))
const percentile = Type.Integer({ minimum: 0 })

export const StatsRow = named(
  'StatsRow',
  Type.Object(
    {
      start: time('The start of the hour, of the day, or of all that was asked for.'),
      domain: group('The sender’s domain, with `group_by=domain`. Null: all further ones.'),
      stream: group('With `group_by=stream`.'),
      provider: group(
        'Who receives for the recipients’ domains, with `group_by=provider`. Null: none that is known by name, not known yet, or all further ones.',
      ),
      tag: group('With `group_by=tag`. Null: all further ones.'),
      accepted: count('Recipients that were accepted.'),
      delivered: count('Taken by the receiving server.'),
      deferred: count('Tries that are to be repeated: one recipient can be deferred several times.'),
      bounced: count('Refused for good, at once or by a later report.'),
      hard_bounced: count('Of these, with `bounce_type` hard: addresses not to be sent to again.'),
      complained: count('Called spam.'),
      unsubscribed: count('Unsubscribed by a link of a mail.'),
      failed: count('Given up by us: time over, no such domain, refused by a rule.'),
      suppressed: count('Not sent to, because of the suppression list.'),
      cancelled: count('Cancelled before they were sent.'),
      bounced_by_reason: byReason('By reason (docs/reasons.md).'),
      deferred_by_reason: byReason('By reason.'),
      failed_by_reason: byReason('By reason.'),
      bounce_rate: rate('Bounced, of delivered and bounced.'),
      hard_bounce_rate: rate('Hard bounces, of delivered and bounced.'),
      complaint_rate: rate('Complained, of delivered.'),
      deferral_rate: rate('Deferred, of delivered, bounced and deferred.'),
      latency_ms: nullable(
        Type.Object(
          { p50: percentile, p95: percentile, p99: percentile },
          {
            description:
              'From acceptance or `send_at`, whichever is later, to the receiving server’s yes, in milliseconds, within 19 %. Null without deliveries, and where domains or tags are asked for.',
          },
        ),
      ),
    },
    { description: 'What happened in an hour, a day, or all of the time that was asked for.' },
  ),
)

export const statsQuery = strictObject({
  after: timeQuery('From this time on. Without it a day before the end with `interval=hour`, else 7 days.'),
  before: timeQuery('Until this time. Without it now.'),
  interval: Type.Optional(
    Type.Enum(['hour', 'day', 'total'], {
      default: 'day',
      description:
        'What is summed up in a row. `after` and `before` are widened to whole hours or days, in UTC; the answer says to which. Hours are kept for 35 days and asked for up to 31 days at once, days for 400.',
    }),
  ),
  group_by: Type.Optional(Type.Enum([...statsGroups], { description: 'A row for each.' })),
  // Optional to whoever asks, and always there for the handler.
  groups: Type.Optional(
    Type.Integer({
      minimum: 1,
      maximum: 100,
      default: 25,
      description: 'With `group_by`: so many groups, those in which most happened. The others are one row.',
    }),
  ) as unknown as TInteger,
  domain: Type.Optional(Type.String({ maxLength: 253, description: 'Only mail from this sender’s domain.' })),
  stream: Type.Optional(Type.Enum([...streams], { description: 'Only this stream.' })),
  provider: Type.Optional(
    Type.String({
      maxLength: 100,
      description: 'Only mail to this provider’s domains.',
      examples: ['google'],
    }),
  ),
  tag: Type.Optional(
    Type.String({
      maxLength: 128,
      description: 'Only mail with this tag. Not together with `domain`, `stream`, `provider`.',
    }),
  ),
})
