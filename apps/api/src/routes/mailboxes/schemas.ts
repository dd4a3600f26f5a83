/** What the routes of mailboxes take and answer. */

import { type MailboxTroubleCode, mailboxTroubles } from '@valija/core'
import { type MailboxTls, mailboxProtocols, mailboxTlsModes } from '@valija/store'
import { Type } from 'typebox'
import { named, nullable, ref, strictObject, time } from '../../route.ts'
import { oneLine } from '../keys/schemas.ts'

const name = oneLine(128, 'For people.')
const protocol = Type.Enum([...mailboxProtocols], {
  description:
    'imap: what was applied is moved to done_folder, and news are heard of at once. pop3: what was applied is deleted.',
})
const host = Type.String({ minLength: 1, maxLength: 253, description: 'Name or IP address of the server.' })
const port = Type.Integer({
  minimum: 1,
  maximum: 65_535,
  description: 'IMAP: 993, or 143 with STARTTLS. POP3: 995, or 110.',
})
const tlsMeaning =
  'implicit: TLS from the first byte. starttls: from the command STARTTLS or STLS on, or not at all. none: the login goes over the network as it is. The certificate must be valid for host.'
const tlsMode = Type.Enum([...mailboxTlsModes], { description: tlsMeaning })
const tls = Type.Unsafe<MailboxTls | boolean>({
  type: ['string', 'boolean'],
  enum: [...mailboxTlsModes, true, false],
  description: `${tlsMeaning} true (the default): starttls on 143 and 110, else implicit; false: none.`,
})
const user = oneLine(320, 'For the login.')
const password = oneLine(1_024, 'Sealed at rest and never shown.')
const folder = oneLine(255, 'IMAP: the folder that is read; INBOX when absent.')
const doneFolder = oneLine(
  255,
  'IMAP: where mails that were applied are moved to; made if it is not there. `Valija` when absent.',
)
const state = Type.Enum(['enabled', 'paused'], { description: 'A paused one is not looked at.' })

export const MailboxInput = named(
  'MailboxInput',
  strictObject(
    {
      ...{ name, protocol, host, port, user, password },
      tls: Type.Optional(tls),
      folder: Type.Optional(folder),
      done_folder: Type.Optional(doneFolder),
      state: Type.Optional(state),
    },
    {
      examples: [
        {
          name: 'bounces of the relay',
          protocol: 'imap',
          host: 'imap.example.com',
          port: 993,
          tls: 'implicit',
          user: 'bounces@example.com',
          password: '…',
        },
      ],
    },
  ),
)

export const MailboxChange = named(
  'MailboxChange',
  strictObject({
    name: Type.Optional(name),
    host: Type.Optional(host),
    port: Type.Optional(port),
    tls: Type.Optional(tls),
    user: Type.Optional(user),
    password: Type.Optional(password),
    folder: Type.Optional(folder),
    done_folder: Type.Optional(doneFolder),
    state: Type.Optional(state),
  }),
)

const count = (description: string) => Type.Integer({ minimum: 0, description })

export const MailboxError = named(
  'MailboxError',
  Type.Object(
    {
      code: Type.Unsafe<MailboxTroubleCode>(Type.Enum(Object.keys(mailboxTroubles))),
      meaning: Type.String({ description: 'What is the matter.' }),
      detail: Type.String({ description: 'What the server, the network or the library said.' }),
      remedy: Type.String({ description: 'What to do.' }),
    },
    { description: 'Why a mailbox cannot be read.' },
  ),
)

const errorOrNull = Type.Union([ref(MailboxError), Type.Null()])

export const Mailbox = named(
  'Mailbox',
  Type.Object(
    {
      id: Type.String({ pattern: '^mbx_[0-9a-f]{32}$' }),
      ...{ name, protocol, host, port, tls: tlsMode, user },
      folder: nullable(Type.String({ description: 'IMAP: the folder that is read.' })),
      done_folder: nullable(
        Type.String({ description: 'IMAP: where mails that were applied are moved to.' }),
      ),
      state,
      status: Type.Enum(['new', 'ok', 'failing', 'paused'], { description: 'new: not looked at yet.' }),
      last_look_at: nullable(time('The last look that went well; null: none yet.')),
      next_look_at: nullable(
        time('The next look; with IMAP news are heard of before. null while it is paused.'),
      ),
      failing_since: nullable(time('The first look that failed since one went well; null while it does.')),
      failures: count('Looks in a row that failed.'),
      error: errorOrNull,
      counts: Type.Object(
        {
          applied: count('Bounces and complaints that changed something.'),
          reports: count('DMARC and TLS reports that were kept.'),
          ignored: count('Reports that changed nothing: seen before, forged, of mail that is unknown here.'),
          other: count('All other mails; they stay where they are.'),
        },
        { description: 'Mails so far.' },
      ),
      created_at: time('When it was made.'),
    },
    { description: 'A mailbox in which bounces and complaints land.' },
  ),
)

export const MailboxTest = named(
  'MailboxTest',
  Type.Object(
    {
      ok: Type.Boolean({ description: 'Whether it could be opened.' }),
      error: errorOrNull,
      mails: nullable(count('How many mails are in it.')),
      tells_of_news: nullable(
        Type.Boolean({
          description: 'Whether new mail is heard of at once (IMAP’s IDLE), or at the next look.',
        }),
      ),
      duration_ms: count('How long it took.'),
    },
    { description: 'What came of a try.' },
  ),
)
