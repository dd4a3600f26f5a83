/** What the routes of the capture inbox answer. */

import { Type } from 'typebox'
import { named, nullable, time } from '../../route.ts'

const entry = {
  id: Type.String({ pattern: '^inb_[0-9a-f]{32}$' }),
  received_at: time('When it was caught.'),
  mail_from: Type.String({ description: 'The envelope’s sender; empty: the null sender.' }),
  rcpt_to: Type.Array(Type.String(), { description: 'The envelope’s recipients.' }),
  from: Type.String({ description: 'The header field From, decoded.' }),
  to: Type.String({ description: 'The header field To, decoded.' }),
  subject: Type.String({ description: 'The header field Subject, decoded.' }),
  rfc_message_id: nullable(Type.String({ description: 'The header field Message-ID.' })),
  size_bytes: Type.Integer({ description: 'Of the raw mail.' }),
}

export const InboxEntry = named(
  'InboxEntry',
  Type.Object(entry, { description: 'A mail that was caught, in a list.' }),
)

export const InboxMail = named(
  'InboxMail',
  Type.Object(
    {
      ...entry,
      headers: Type.Array(Type.Object({ name: Type.String(), value: Type.String() }), {
        description: 'All header fields in their order, decoded.',
      }),
      text: nullable(Type.String({ description: 'As the sender wrote it.' })),
      html: nullable(Type.String({ description: 'As the sender wrote it: show it in a sandbox only.' })),
      attachments: Type.Array(
        Type.Object({
          filename: nullable(Type.String()),
          content_type: Type.String(),
          content_id: nullable(Type.String({ description: 'What `cid:` links in html name it by.' })),
          size_bytes: Type.Integer(),
        }),
      ),
    },
    { description: 'A mail that was caught, taken apart.' },
  ),
)
