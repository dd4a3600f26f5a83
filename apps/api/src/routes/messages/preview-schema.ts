/** What POST /send/preview answers. */

import { type Authentication, type MessagePreview as PreviewView, previewWarnings } from '@valija/flows'
import { Type } from 'typebox'
import { named, nullable } from '../../route.ts'

const aligned = Type.Boolean({ description: 'Its domain is, for DMARC, that of From.' })

const dkim = Type.Object({
  domain: Type.String({ description: 'd= of the signature.' }),
  selector: Type.String(),
  algorithm: Type.String({ description: '`rsa-sha256` or `ed25519-sha256`.' }),
  result: Type.Unsafe<Authentication['dkim'][number]['result']>(
    Type.Enum(['pass', 'fail', 'neutral', 'none', 'temperror', 'permerror', 'policy']),
  ),
  aligned,
  detail: nullable(Type.String({ description: 'Why it does not pass.' })),
})

const spf = Type.Object({
  domain: Type.String({ description: 'Of the return path.' }),
  ip: nullable(
    Type.String({
      description: 'The address that it was evaluated for; of several, one that does not pass.',
    }),
  ),
  result: Type.Unsafe<Authentication['spf']['result']>(
    Type.Enum(['pass', 'fail', 'softfail', 'neutral', 'none', 'temperror', 'permerror', 'unknown'], {
      description: 'unknown: the address that receivers would see is not known here (a relay’s, or none).',
    }),
  ),
  aligned,
  detail: nullable(Type.String()),
})

const dmarc = Type.Object({
  result: Type.Unsafe<Authentication['dmarc']['result']>(
    Type.Enum(['pass', 'fail', 'none', 'temperror', 'unknown'], {
      description: 'none: no record applies.',
    }),
  ),
  policy: nullable(Type.String({ description: 'What receivers are asked to do with mail that fails.' })),
  domain: nullable(Type.String({ description: 'Where the record was found.' })),
})

export const MessagePreview = named(
  'MessagePreview',
  Type.Object(
    {
      delivery: Type.String({ description: 'Which way it would go: capture, smarthost or mx.' }),
      envelope_from: Type.String({
        description: 'The return path of the first recipient; each recipient has one of its own.',
      }),
      recipients: Type.Array(
        Type.Object({
          email: Type.String(),
          type: Type.Unsafe<PreviewView['recipients'][number]['type']>(Type.Enum(['to', 'cc', 'bcc'])),
          suppressed: nullable(
            Type.String({ description: 'Why it would not be sent to; null when it would.' }),
          ),
        }),
      ),
      from: Type.String({ description: 'The header field From.' }),
      subject: Type.String(),
      text: nullable(Type.String({ description: 'As a reader sees it.' })),
      html: nullable(Type.String({ description: 'As a reader sees it.' })),
      headers: Type.Array(Type.Object({ name: Type.String(), value: Type.String() }), {
        description: 'All header fields in their order, decoded.',
      }),
      attachments: Type.Array(
        Type.Object({
          filename: nullable(Type.String()),
          content_type: Type.String(),
          content_id: nullable(Type.String()),
          size_bytes: Type.Integer(),
        }),
      ),
      raw: Type.String({
        contentEncoding: 'base64',
        description:
          'The RFC 5322 text with its signatures, in base64. Message-ID and Date are this preview’s own.',
      }),
      size_bytes: Type.Integer({ description: 'Of the raw mail.' }),
      authentication: Type.Object(
        {
          verdict: Type.Unsafe<Authentication['verdict']>(
            Type.Enum(['pass', 'fail', 'unknown'], {
              description:
                'Whether something that passes vouches for the From domain, as DMARC asks; unknown: it hangs on what cannot be known here.',
            }),
          ),
          dkim: Type.Array(dkim, { description: 'Each signature, from the top.' }),
          spf,
          dmarc,
        },
        { description: 'What a receiving server would find, by what DNS says now.' },
      ),
      warnings: Type.Array(
        Type.Object({
          code: Type.Unsafe<PreviewView['warnings'][number]['code']>({
            type: 'string',
            description: Object.entries(previewWarnings)
              .map(([code, meaning]) => `${code}: ${meaning}`)
              .join('; '),
          }),
          message: Type.String({ description: 'What it is, and what to do.' }),
        }),
      ),
    },
    { description: 'What would be sent.' },
  ),
)
