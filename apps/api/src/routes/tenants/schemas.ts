/** What the operator's routes of tenants take and answer. */
import { usualAlarmLimits } from '@valija/core'
import { Type } from 'typebox'
import { named, nullable, strictObject, time } from '../../route.ts'
import { limitFields, oneLine } from '../keys/schemas.ts'

const alarmRate = (usual: number, what: string) =>
  Type.Optional(
    nullable(
      Type.Number({
        exclusiveMinimum: 0,
        maximum: 1,
        description: `${what}, as a part of one; 1: never. Absent or null: ${usual}.`,
      }),
    ),
  )
const usual = usualAlarmLimits(false)
const alarms = strictObject(
  {
    bounce_rate: alarmRate(
      usual.bounce_rate,
      'Hard bounces, of delivered and bounced, over which there is an alarm',
    ),
    complaint_rate: alarmRate(usual.complaint_rate, 'Complaints, of delivered, over which there is an alarm'),
    deferral_rate: alarmRate(
      usual.deferral_rate,
      'Deferred tries, of all that were answered, over which there is an alarm',
    ),
    pause_bulk: Type.Optional(
      nullable(
        Type.Boolean({
          description:
            'Whether bulk mail is held when its own rates exceed the next two. Absent or null: true, but for the tenant of `npm start`.',
        }),
      ),
    ),
    pause_bounce_rate: alarmRate(usual.pause_bounce_rate, 'Hard bounces of bulk mail, over which it is held'),
    pause_complaint_rate: alarmRate(
      usual.pause_complaint_rate,
      'Complaints of bulk mail, over which it is held',
    ),
    minimum_volume: Type.Optional(
      nullable(
        Type.Integer({
          minimum: 1,
          maximum: 1_000_000_000,
          description: `Under so much mail in 24 hours no rate counts. Absent or null: ${usual.minimum_volume}.`,
        }),
      ),
    ),
  },
  {
    description:
      'When the rates of a stream over the last 24 hours are worth an alarm, an event `tenant.alarm`, once until they are well below again; and when they are so high that its bulk mail is held.',
  },
)
const name = oneLine(128, 'Unique in this installation.')
const limits = strictObject(
  {
    queued: Type.Optional(
      nullable(
        Type.Integer({
          minimum: 1,
          maximum: 1_000_000_000,
          description:
            'Recipients of the tenant that may wait to be sent to at the same time; beyond it POST /send answers 429 `queue_full`. Absent or null: `VALIJA_MAX_QUEUED_PER_TENANT`.',
        }),
      ),
    ),
    ...limitFields,
    alarms: Type.Optional(nullable(alarms)),
  },
  {
    description:
      'What the tenant may do at most. A change leaves those that it does not name as they are, within `alarms` too; null ends one.',
  },
)
const weight = Type.Integer({
  minimum: 1,
  maximum: 1_000,
  description:
    'Its share of the sending, against the weights of the other tenants that have something to send.',
})

const atMostOnce = Type.Boolean({
  description:
    'When a mail was handed over whole and no reply came, it may have arrived. false: it is sent again, with the same Message-ID and content, so it may arrive twice. true: it is not, and its recipient ends as failed (reason network, `uncertain` in its attempt and event). Heeded from the next attempt on.',
})

const bulkPaused = Type.Boolean({
  description:
    'Whether bulk mail is held, by the operator or by itself (`limits.alarms`): it is accepted, and waits; nothing is lost, and its time (`expires_at`) does not run on. Other mail goes on. false again: it goes on at once.',
})
const status = Type.Enum(['active', 'suspended'], {
  description:
    'suspended: sends are answered 403 `tenant_suspended`, and what was accepted is held; nothing is lost, and its time (`expires_at`) does not run on. active again: it goes on at once.',
})

const days = (description: string) => nullable(Type.Integer({ minimum: 1, maximum: 36_500, description }))
const retention = {
  retention_days: days(
    'After so many days its mail is deleted with all that was written of it: recipients, attempts, events. null: after VALIJA_RETENTION_EVENTS, which is the longest.',
  ),
  redact_after_days: days(
    'After so many days the content of its mail is deleted: bodies, subjects, metadata, SMTP conversations, the inbox. What became of each recipient stays. No longer than VALIJA_RETENTION_CONTENT and `retention_days`, of which the shorter counts. null: bodies after VALIJA_RETENTION_CONTENT.',
  ),
}
const retentionFields = {
  retention_days: Type.Optional(retention.retention_days),
  redact_after_days: Type.Optional(retention.redact_after_days),
}

export const TenantInput = named(
  'TenantInput',
  strictObject({
    name,
    weight: Type.Optional({ ...weight, default: 1 }),
    limits: Type.Optional(limits),
    at_most_once: Type.Optional({ ...atMostOnce, default: false }),
    ...retentionFields,
  }),
)

export const TenantChange = named(
  'TenantChange',
  strictObject({
    name: Type.Optional(name),
    weight: Type.Optional(weight),
    limits: Type.Optional(limits),
    at_most_once: Type.Optional(atMostOnce),
    ...retentionFields,
    status: Type.Optional(status),
    bulk_paused: Type.Optional(bulkPaused),
  }),
)

const shown = {
  id: Type.String({ pattern: '^ten_[0-9a-f]{32}$', description: 'What the header Valija-Tenant takes.' }),
  name,
  weight,
  limits: Type.Object({}, { additionalProperties: true }),
  at_most_once: atMostOnce,
  status,
  suspended_at: nullable(time('Since when it is suspended; null: it is not.')),
  bulk_paused: bulkPaused,
  bulk_pause: nullable(
    Type.Object(
      {
        since: time('Since when.'),
        reason: Type.Enum(['operator', 'bounce_rate', 'complaint_rate'], {
          description: 'Who or what held it: with a rate, by itself.',
        }),
        rate: Type.Optional(Type.Number({ description: 'As a part of one.' })),
        limit: Type.Optional(Type.Number({ description: 'Which the rate exceeded.' })),
        count: Type.Optional(Type.Integer({ description: 'How many bounced hard, or were called spam.' })),
        volume: Type.Optional(Type.Integer({ description: 'What they are a part of.' })),
        hours: Type.Optional(Type.Integer({ description: 'Over what time.' })),
      },
      { description: 'Why bulk mail is held; null: it is not.' },
    ),
  ),
  ...retention,
  is_default: Type.Boolean({ description: 'The tenant that `npm start` made.' }),
  created_at: time('When it was made.'),
}

export const Tenant = named('Tenant', Type.Object(shown, { description: 'A tenant of this installation.' }))

export const CreatedTenant = named(
  'CreatedTenant',
  Type.Object(
    { ...shown, key: Type.String({ description: 'Its first API key, with all scopes: shown this once.' }) },
    { description: 'A tenant that was just made.' },
  ),
)
