/** `valija send`: a mail from the terminal or a script. */

import { apiFlags } from '../api-client.ts'
import { command } from '../command.ts'
import { variableFlags } from '../flag-values.ts'
import { jsonFlag } from '../output.ts'

const text = (value: string, help: string) => ({ type: 'string', value, help }) as const
const texts = (value: string, help: string) => ({ type: 'string', multiple: true, value, help }) as const

export const sendFlags = {
  from: text('<address>', 'a@b.example, or "Name <a@b.example>"'),
  to: texts('<address>', 'a recipient'),
  cc: texts('<address>', 'one who gets a copy'),
  bcc: texts('<address>', 'one whom the others do not see'),
  'reply-to': texts('<address>', 'where answers go'),
  subject: text('<text>', 'its subject'),
  text: text(
    '<text>',
    'its text; with -, and without --text, --html, --template and --raw, it is read from standard input',
  ),
  html: text('<html>', 'its HTML'),
  'html-file': text('<file>', 'a file with its HTML'),
  template: text('<slug>', 'a template instead of text and HTML'),
  ...variableFlags,
  attach: texts('<file>', 'a file that goes with it'),
  header: texts('<name: value>', 'a header field of your own, such as X-Order'),
  raw: text('<file>', 'a whole mail (RFC 5322) instead of all that; - for standard input'),
  tag: texts('<tag>', 'to find it by'),
  metadata: texts('<name=value>', 'to find it by, and given back in events'),
  stream: text('<stream>', 'transactional (the default) or bulk'),
  'send-at': text('<time>', 'not before then, up to a year ahead'),
  ttl: text('<seconds>', 'how long it is tried'),
  route: text('<route>', 'the route that it takes'),
  'require-tls': { type: 'boolean', help: 'only to servers that prove who they are' },
  unsubscribe: { type: 'boolean', help: 'of bulk mail: with a link to unsubscribe by' },
  sandbox: { type: 'boolean', help: 'walks the real states, is sent to nobody' },
  sensitive: { type: 'boolean', help: 'its content is dropped once nobody is left to be sent to' },
  'late-after': text('<seconds>', 'it is late, and message.late tells so, when it is not handed off by then'),
  'idempotency-key': text('<key>', 'the same key and content is sent once'),
  wait: {
    type: 'boolean',
    help: 'until every recipient is at its end; exit code 1 if one was not delivered',
  },
  ...apiFlags,
  ...jsonFlag,
} as const

export const sendCommand = command({
  name: 'send',
  summary: 'sends a mail and prints its id',
  flags: sendFlags,
  example: "send --from 'Acme <hi@acme.test>' --to ann@example.org --subject Hello --text 'It works.' --wait",
  run: async ({ flags }) => (await import('../send-mail.ts')).sendMail(flags),
})
