import { describe, expect, test } from 'vitest'
import { createMailLog } from './mail-log.ts'

describe('the mail log', () => {
  test('writes fields in a fixed order, the message id first, so that a grep tells a mail’s life', () => {
    const lines: string[] = []
    const log = createMailLog((fields, text) => lines.push(`${JSON.stringify(fields)} ${text}`))
    const uuid = '01a208de-6941-7000-a86b-41e17ac78d54'
    const mail = { messageId: uuid, recipientId: uuid, tenantId: uuid }
    log.accepted({ messageId: uuid, tenantId: uuid, from: 'hi@acme.test', recipientCount: 1, sizeBytes: 9 })
    log.attempted({
      ...mail,
      email: 'ann@example.org',
      number: 1,
      route: 'capture',
      host: '127.0.0.1',
      outcome: 'delivered',
      reason: null,
      reply: '250 ok',
      nextInMs: null,
      durationMs: 3,
    })
    log.ended({ ...mail, email: 'bob@example.org', outcome: 'failed', reason: 'expired' })
    log.reported({
      ...mail,
      email: 'bob@example.org',
      kind: 'bounce',
      outcome: 'bounced',
      reason: 'mailbox_unknown',
      reply: '550 5.1.1 no such user',
      via: 'smtp',
    })
    const report = { domainId: uuid, kind: 'dmarc', reporter: 'google.com', reportId: '7' }
    log.domainReported({ ...report, outcome: 'kept', via: 'smtp' })
    log.reportIgnored({ kind: 'other', reason: 'auto_reply', via: 'smtp', sizeBytes: 9 })
    expect(lines).toEqual([
      '{"message":"msg_01a208de69417000a86b41e17ac78d54","tenant":"ten_01a208de69417000a86b41e17ac78d54","from":"hi@acme.test","recipients":1,"bytes":9} accepted',
      '{"message":"msg_01a208de69417000a86b41e17ac78d54","recipient":"rcp_01a208de69417000a86b41e17ac78d54","tenant":"ten_01a208de69417000a86b41e17ac78d54","to":"ann@example.org","attempt":1,"route":"capture","host":"127.0.0.1","outcome":"delivered","reason":null,"reply":"250 ok","nextInMs":null,"durationMs":3} delivered',
      '{"message":"msg_01a208de69417000a86b41e17ac78d54","recipient":"rcp_01a208de69417000a86b41e17ac78d54","tenant":"ten_01a208de69417000a86b41e17ac78d54","to":"bob@example.org","outcome":"failed","reason":"expired"} failed',
      '{"message":"msg_01a208de69417000a86b41e17ac78d54","recipient":"rcp_01a208de69417000a86b41e17ac78d54","tenant":"ten_01a208de69417000a86b41e17ac78d54","to":"bob@example.org","report":"bounce","outcome":"bounced","reason":"mailbox_unknown","reply":"550 5.1.1 no such user","via":"smtp"} bounced',
      '{"domain":"dom_01a208de69417000a86b41e17ac78d54","report":"dmarc","reporter":"google.com","id":"7","outcome":"kept","via":"smtp"} domain report',
      '{"report":"other","reason":"auto_reply","via":"smtp","bytes":9} report ignored',
    ])
  })
})
