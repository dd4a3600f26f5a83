/**
 * The body of POST /send: its shape only. What a schema cannot say, and every length, is judged by the product's rules
 * (`validateMessage` of @valija/core), which name all faults at once and are the same for every way in.
 */

import { streams } from '@valija/core'
import { type Static, Type } from 'typebox'
import { named, ref, strictObject } from '../route.ts'

export const AddressInput = named(
  'AddressInput',
  Type.Union(
    [
      Type.String({ description: '`a@b.example` or `Name <a@b.example>`.' }),
      strictObject({
        email: Type.String(),
        name: Type.Optional(Type.String({ description: 'The display name, at most 256 characters.' })),
      }),
    ],
    {
      description: 'An address: a string, or its two parts.',
      examples: ['Acme <hello@acme.example>', { email: 'ann@example.com', name: 'Ann' }],
    },
  ),
)

export const AddressListInput = named(
  'AddressListInput',
  Type.Union(
    [
      Type.String(),
      strictObject({ email: Type.String(), name: Type.Optional(Type.String()) }),
      Type.Array(ref(AddressInput)),
    ],
    {
      description: 'One address, or a list of them.',
      examples: [['ann@example.com', 'Bob <bob@example.com>']],
    },
  ),
)

const AttachmentInput = named(
  'AttachmentInput',
  strictObject({
    filename: Type.String({ description: 'At most 255 characters, without a path.' }),
    content: Type.String({ contentEncoding: 'base64', description: 'Base64 (RFC 4648 section 4).' }),
    content_type: Type.Optional(Type.String({ description: 'Told from the file name if absent.' })),
    content_id: Type.Optional(Type.String({ description: 'What `cid:` links in html name it by.' })),
    disposition: Type.Optional(Type.Enum(['attachment', 'inline'])),
  }),
)

const TemplateUse = named(
  'TemplateUse',
  strictObject(
    {
      slug: Type.String({ description: 'The template’s.' }),
      version: Type.Optional(
        Type.Integer({ minimum: 1, maximum: 2_147_483_647, description: 'Absent: the published one.' }),
      ),
      variables: Type.Optional(
        Type.Record(Type.String(), Type.Unknown(), { description: 'The values of its variables.' }),
      ),
    },
    { description: 'A template of GET /templates, and what to fill it with.' },
  ),
)

const UnsubscribeWays = strictObject({
  url: Type.Optional(
    Type.String({
      description: 'https; takes a POST with `List-Unsubscribe=One-Click`, and acts without asking.',
    }),
  ),
  mailto: Type.Optional(Type.String({ description: 'An address, or a `mailto:` URI with subject or body.' })),
})

export const MessageInput = named(
  'MessageInput',
  strictObject(
    {
      from: ref(AddressInput),
      to: Type.Optional(ref(AddressListInput)),
      cc: Type.Optional(ref(AddressListInput)),
      bcc: Type.Optional(ref(AddressListInput)),
      reply_to: Type.Optional(ref(AddressListInput)),
      subject: Type.Optional(Type.String({ description: 'At most 998 characters.' })),
      text: Type.Optional(Type.String({ description: 'Lines of any length.' })),
      html: Type.Optional(Type.String({ description: 'Lines of any length.' })),
      headers: Type.Optional(
        Type.Record(Type.String(), Type.String(), {
          maxProperties: 100,
          description:
            '`X-*` but not `X-Valija-*`, `List-*`, In-Reply-To, References, Precedence, Auto-Submitted, Feedback-ID, Importance, Priority, Comments, Keywords; at most 2,000 octets each.',
        }),
      ),
      attachments: Type.Optional(Type.Array(ref(AttachmentInput), { maxItems: 100 })),
      raw: Type.Optional(
        Type.String({
          contentEncoding: 'base64',
          description:
            'RFC 5322 text in base64, instead of subject, text, html, headers, attachments and reply_to.',
        }),
      ),
      template: Type.Optional(ref(TemplateUse)),
      tags: Type.Optional(
        Type.Array(Type.String(), { maxItems: 20, description: 'At most 128 characters each.' }),
      ),
      metadata: Type.Optional(
        Type.Record(Type.String(), Type.String(), {
          maxProperties: 50,
          description: 'Keys of at most 64 and values of at most 512 characters; given back in events.',
        }),
      ),
      stream: Type.Optional(Type.Enum([...streams], { default: 'transactional' })),
      send_at: Type.Optional(
        Type.String({
          description: 'When to send it: an RFC 3339 time up to a year ahead.',
          examples: ['2026-12-24T18:00:00Z'],
        }),
      ),
      ttl_seconds: Type.Optional(
        Type.Integer({ description: 'Give up after so many seconds, 60 to 604800.' }),
      ),
      route: Type.Optional(
        Type.String({
          minLength: 1,
          maxLength: 64,
          description: 'The route that it takes: one of GET /routes, or capture. Absent: as the lists say.',
        }),
      ),
      require_tls: Type.Optional(
        Type.Boolean({
          description:
            'Send only to servers that prove who they are over TLS; tried again, and given up in the end, where none does.',
        }),
      ),
      unsubscribe: Type.Optional(
        Type.Union([Type.Literal(true), UnsubscribeWays], {
          description:
            'Of bulk mail only: what its readers’ programs unsubscribe by (List-Unsubscribe, RFC 8058). true: a link of ours for each recipient.',
        }),
      ),
      sandbox: Type.Optional(
        Type.Boolean({ description: 'Walk through the real states without sending anything.' }),
      ),
      sensitive: Type.Optional(
        Type.Boolean({
          description:
            'Drop the body as soon as no recipient is left to be sent to. What the capture inbox caught stays there.',
        }),
      ),
      notify_if_not_handed_off_within: Type.Optional(
        Type.Integer({
          description:
            'Tell by `message.late` of each recipient whose mail is not handed off so many seconds after acceptance or send_at, whichever is later; 1 to 604800.',
        }),
      ),
    },
    {
      description:
        'A message. Required: from; a recipient in to, cc or bcc; and raw, or template, or subject with text or html. A subject beside template stands in for the template’s.',
      examples: [
        {
          from: 'Acme <hello@acme.example>',
          to: ['ann@example.com'],
          subject: 'Your receipt',
          text: 'Thank you!',
          tags: ['receipt'],
          metadata: { order: '4711' },
        },
      ],
    },
  ),
)

export type MessageInputShape = Static<typeof MessageInput>

export const messageInputSchemas = [
  AddressInput,
  AddressListInput,
  AttachmentInput,
  TemplateUse,
  MessageInput,
]
