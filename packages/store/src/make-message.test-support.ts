/** A message as accept takes it, for tests. */
import type { IdSource, Uuid } from '@valija/core'
import type { NewMessage } from './accept-messages.ts'

export function makeMessage(nextId: IdSource, tenantId: Uuid, more: Partial<NewMessage> = {}): NewMessage {
  const id = nextId()
  return {
    id,
    tenantId,
    createdAtMs: Date.now(),
    stream: 'transactional',
    delivery: 'capture',
    route: 'capture',
    fromHeader: 'Acme <hi@acme.test>',
    fromEmail: 'hi@acme.test',
    fromDomain: 'acme.test',
    subject: 'Grüße',
    tags: ['welcome', 'a "quoted", one \\ {x}'],
    metadata: { order: '42' },
    sendAtMs: null,
    expiresAtMs: Date.now() + 3_600_000,
    rfcMessageId: `<${id}@acme.test>`,
    requireTls: false,
    isSimulated: false,
    isSensitive: false,
    isSandbox: false,
    resentFrom: null,
    template: null,
    lateAtMs: null,
    body: Buffer.from(`body of ${id}`),
    recipients: [
      {
        id: nextId(),
        email: 'Ann@example.org',
        emailKey: 'ann@example.org',
        domain: 'example.org',
        type: 'to',
        status: 'queued',
        reason: null,
        simulation: null,
        seq: 1,
      },
    ],
    events: [],
    idempotency: null,
    ...more,
  }
}
