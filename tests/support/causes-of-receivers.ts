/** Causes that lie with receiving servers, the DNS, and what was sent to them. */
import { createHash, X509Certificate } from 'node:crypto'
import type { CauseWorld, SeededCause } from './cause-world.ts'
import { certificate } from './certificate.ts'
import { drop, EXTENSIONS, type Script, type SmtpPeer, silence } from './smtp-peer.ts'

/** A server that refuses something; its owner or the sender mends it. */
type Refusal = Omit<SeededCause, 'seed' | 'cure'> & {
  domain: string
  script: Script
  /** What is sent; to `bad@` the domain unless it says another recipient. */
  mail?: Record<string, unknown>
  options?: { extensions?: string[]; starttls?: boolean }
} & (
    | { cure: 'the server is mended, and it goes by itself' }
    | { cure: 'the server is mended, and it goes in time' }
    | { cure: 'the server is mended, and it is sent again' }
    | { cure: 'another mail is sent'; other: Record<string, unknown> }
  )

function refusal(given: Refusal): SeededCause {
  const { domain, script, mail = {}, options = {}, cure, ...cause } = given
  const to = `bad@${domain}`
  let peer: SmtpPeer
  return {
    ...cause,
    seed: async (world) => {
      peer = await world.site(domain, script, options)
      return world.send(to, mail)
    },
    cure: async (world, id) => {
      if (cure === 'another mail is sent') return world.send(to, { ...mail, ...given.other })
      peer.script = {}
      if (cure.endsWith('sent again')) return world.send(to, mail)
      if (cure.endsWith('in time')) await world.passTime(id)
      return id
    },
  }
}

export const replies: SeededCause[] = [
  // First, since it takes longest: a minute for a greeting.
  refusal({
    name: 'a server that is silent',
    kind: 'timeout',
    status: 'deferred',
    remedy: /Nothing has to be done\. The receiving server is slow/,
    domain: 'silent.test',
    script: { connect: silence() },
    cure: 'the server is mended, and it goes by itself',
  }),
  refusal({
    name: 'an address that does not exist',
    kind: 'mailbox_unknown',
    status: 'bounced',
    remedy: /typing error/,
    domain: 'typo.test',
    script: {
      rcpt: ({ argument }) =>
        argument.includes('bad@')
          ? '550 5.1.1 <bad@typo.test>: Recipient address rejected: User unknown'
          : undefined,
    },
    cure: 'another mail is sent',
    other: { to: 'good@typo.test' },
  }),
  refusal({
    name: 'a full mailbox, for now',
    kind: 'mailbox_full',
    status: 'deferred',
    remedy: /make room/,
    domain: 'full.test',
    script: { rcpt: '452 4.2.2 The email account that you tried to reach is over quota' },
    cure: 'the server is mended, and it goes in time',
  }),
  refusal({
    name: 'a full mailbox, for good',
    kind: 'mailbox_full',
    status: 'bounced',
    remedy: /make room; then send the mail again/,
    domain: 'overfull.test',
    script: { rcpt: '552 5.2.2 Mailbox full' },
    cure: 'the server is mended, and it is sent again',
  }),
  refusal({
    name: 'a disabled mailbox',
    kind: 'mailbox_disabled',
    status: 'bounced',
    remedy: /another address/,
    domain: 'disabled.test',
    script: {
      rcpt: ({ argument }) =>
        argument.includes('bad@')
          ? '550 5.2.1 The email account that you tried to reach is disabled'
          : undefined,
    },
    cure: 'another mail is sent',
    other: { to: 'other@disabled.test' },
  }),
  refusal({
    name: 'greylisting',
    kind: 'greylisted',
    status: 'deferred',
    remedy: /Nothing has to be done/,
    domain: 'grey.test',
    script: {
      rcpt: [
        '450 4.7.1 <bad@grey.test>: Recipient address rejected: Greylisted, see http://postgrey.schweikert.ch/help/grey.test.html',
      ],
    },
    cure: 'the server is mended, and it goes in time',
  }),
  refusal({
    name: 'too much mail for a server',
    kind: 'throttled',
    status: 'deferred',
    remedy: /Nothing has to be done\. Valija slows down/,
    domain: 'rate.test',
    script: { mail: '421 4.7.0 Too many messages, rate limited, try again later' },
    cure: 'the server is mended, and it goes by itself',
  }),
  refusal({
    name: 'an address of ours on a blocklist',
    kind: 'reputation',
    status: 'deferred',
    remedy: /The operator has to find out what was sent .* ask the blocklist/,
    domain: 'blocklist.test',
    script: {
      rcpt: '554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org; https://www.spamhaus.org/query/ip/192.0.2.1',
    },
    cure: 'the server is mended, and it goes in time',
  }),
  refusal({
    name: 'a mail taken for spam',
    kind: 'spam',
    status: 'bounced',
    remedy: /Look at what the mail says/,
    domain: 'spam.test',
    script: { body: ['554 5.7.1 Message rejected as spam by Content Filtering'] },
    mail: { text: 'CHEAP PILLS' },
    cure: 'another mail is sent',
    other: { text: 'Your receipt.' },
  }),
  refusal({
    name: 'an attachment that is not taken',
    kind: 'content',
    status: 'bounced',
    remedy: /Leave out or change what the reply names/,
    domain: 'attachment.test',
    script: {
      body: [
        '552 5.7.0 This message was blocked because its content presents a potential security issue. The attachment type .exe is not allowed',
      ],
    },
    mail: { attachments: [{ filename: 'setup.exe', content: 'TVo=' }] },
    cure: 'another mail is sent',
    other: { attachments: [] },
  }),
  refusal({
    name: 'a mail larger than the server says it takes',
    kind: 'size',
    status: 'failed',
    remedy: /smaller mail/,
    domain: 'small.test',
    script: {},
    options: { extensions: ['SIZE 20000', 'PIPELINING'] },
    mail: { text: 'x'.repeat(50_000) },
    cure: 'another mail is sent',
    other: { text: 'short' },
  }),
  refusal({
    name: 'a mail that the server finds too large',
    kind: 'size',
    status: 'bounced',
    remedy: /smaller mail/,
    domain: 'toolarge.test',
    script: { body: ['552 5.3.4 Message size exceeds fixed maximum message size'] },
    mail: { text: 'x'.repeat(50_000) },
    cure: 'another mail is sent',
    other: { text: 'short' },
  }),
  refusal({
    name: 'a recipient that only some may write to',
    kind: 'policy',
    status: 'bounced',
    remedy: /recipient or the postmaster of the receiving domain can allow the sender/,
    domain: 'group.test',
    script: {
      rcpt: '550 5.7.133 RESOLVER.RST.SenderNotAuthenticatedForGroup; authentication required; Delivery restriction check failed because the sender was not authenticated when sending to this group',
    },
    cure: 'the server is mended, and it is sent again',
  }),
  refusal({
    name: 'a server that answers no SMTP',
    kind: 'protocol',
    status: 'deferred',
    remedy: /tell its postmaster/,
    domain: 'nonsense.test',
    script: { data: '250 2.0.0 whatever' },
    cure: 'the server is mended, and it goes by itself',
  }),
  refusal({
    name: 'a connection that breaks',
    kind: 'connection_lost',
    status: 'deferred',
    remedy: /Nothing has to be done/,
    domain: 'breaking.test',
    script: { rcpt: drop() },
    cure: 'the server is mended, and it goes by itself',
  }),
  refusal({
    name: 'a connection that breaks after the mail: perhaps it was taken',
    kind: 'connection_lost',
    status: 'deferred',
    remedy: /Nothing has to be done/,
    domain: 'uncertain.test',
    script: { body: drop() },
    cure: 'the server is mended, and it goes by itself',
  }),
  refusal({
    name: 'an address with letters beyond ASCII, and a server without SMTPUTF8',
    kind: 'capability',
    status: 'failed',
    remedy: /without letters beyond ASCII/,
    domain: 'ascii.test',
    script: {},
    options: { extensions: EXTENSIONS.filter((extension) => extension !== 'SMTPUTF8') },
    mail: { to: 'jörg@ascii.test' },
    cure: 'another mail is sent',
    other: { to: 'joerg@ascii.test' },
  }),
  refusal({
    name: 'raw bytes beyond ASCII, and a server without 8BITMIME',
    kind: 'capability',
    status: 'failed',
    remedy: /Send text and html instead of raw/,
    domain: 'sevenbit.test',
    script: {},
    options: { extensions: ['PIPELINING'] },
    mail: {
      raw: Buffer.from(
        'From: hi@acme.test\r\nSubject: x\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nGrüße\r\n',
      ).toString('base64'),
      subject: undefined,
      text: undefined,
    },
    cure: 'another mail is sent',
    other: { raw: undefined, subject: 'x', text: 'Grüße' },
  }),
  refusal({
    name: 'TLS that the message demands and the server lacks',
    kind: 'tls',
    status: 'deferred',
    remedy: /again without require_tls/,
    domain: 'plain.test',
    script: {},
    mail: { require_tls: true },
    cure: 'another mail is sent',
    other: { require_tls: false },
  }),
  refusal({
    name: 'a simulated recipient',
    kind: 'simulated',
    status: 'bounced',
    remedy: /outside simulator\.valija\.test/,
    domain: 'real.test',
    script: {},
    mail: { to: 'bounced@simulator.valija.test' },
    cure: 'another mail is sent',
    other: { to: 'ann@real.test' },
  }),
  refusal({
    name: 'a mail that was caught',
    kind: 'captured',
    status: 'delivered',
    remedy: /again by another route/,
    domain: 'caught.test',
    script: {},
    mail: { route: 'capture' },
    cure: 'another mail is sent',
    other: { route: undefined },
  }),
]

const sts = (mode: string, mx: string) =>
  `version: STSv1\r\nmode: ${mode}\r\nmx: ${mx}\r\nmax_age: 604800\r\n`

/** As a worker that fetched it would have stored it; the record says that it is the present one. */
async function publishPolicy({ valija, internet }: CauseWorld, domain: string, mode: string): Promise<void> {
  await valija.sql(
    `INSERT INTO valija.mta_sts_policies (domain, policy_id, policy, max_age_seconds) VALUES ($1, $2, $3, 604800)
     ON CONFLICT (domain) DO UPDATE SET policy_id = excluded.policy_id, policy = excluded.policy, fetched_at = now()`,
    [domain, mode, sts(mode, `mx.${domain}`)],
  )
  internet.dns.set(`_mta-sts.${domain}`, 'TXT', [`v=STSv1; id=${mode};`], 1)
}

/** The TLSA record of mx.dane.test: the digest of the key that its certificate must have. */
function publishCertificate({ internet }: CauseWorld, digest: string): void {
  internet.dns.set(`_${internet.port}._tcp.mx.dane.test`, 'TLSA', [`3 1 1 ${digest}`], 1)
}

const spki = async () =>
  createHash('sha256')
    .update(new X509Certificate((await certificate()).cert).publicKey.export({ type: 'spki', format: 'der' }))
    .digest('hex')

export const namesAndAddresses: SeededCause[] = [
  {
    name: 'a domain that does not exist',
    kind: 'domain_unknown',
    status: 'failed',
    remedy: /part after the @ for a typing error/,
    seed: async (world) => {
      await world.site('exists.test')
      return world.send('ann@exsits.test')
    },
    cure: (world) => world.send('ann@exists.test'),
  },
  {
    name: 'a domain that takes no mail',
    kind: 'null_mx',
    status: 'failed',
    remedy: /Use another address/,
    seed: async (world) => {
      await world.site('mail.null.test')
      world.internet.dns.set('null.test', 'MX', ['0 .'])
      return world.send('ann@null.test')
    },
    cure: (world) => world.send('ann@mail.null.test'),
  },
  {
    name: 'name servers that fail',
    kind: 'name_unavailable',
    status: 'deferred',
    remedy: /owner of servfail\.test has to mend its name servers/,
    seed: async (world) => {
      await world.site('servfail.test')
      world.internet.dns.behaviour['servfail.test'] = 'servfail'
      return world.send('ann@servfail.test')
    },
    cure: async (world, id) => {
      delete world.internet.dns.behaviour['servfail.test']
      return id
    },
  },
  {
    name: 'a server that does not run',
    kind: 'connection_refused',
    status: 'deferred',
    remedy: /has to take connections at mx\.refused\.test:\d+/,
    seed: async (world) => {
      const { dns, deadAddress } = world.internet
      dns.set('mx.refused.test', 'A', [deadAddress()])
      dns.set('refused.test', 'MX', ['10 mx.refused.test'])
      return world.send('ann@refused.test')
    },
    cure: async (world, id, told) => {
      const host = /(127\.0\.\d+\.\d+)/.exec(told.because[0]?.detail ?? '')?.[1] ?? ''
      await world.internet.exchanger('mx.refused.test', { host })
      return id
    },
  },
  {
    name: 'a server at a private address',
    kind: 'address_refused',
    status: 'failed',
    remedy: /VALIJA_ALLOW_NETWORKS; otherwise .* point its MX record at a public address/,
    seed: async (world) => {
      world.internet.dns.set('mx.private.test', 'A', ['10.99.0.1'], 1)
      world.internet.dns.set('private.test', 'MX', ['10 mx.private.test'], 1)
      return world.send('ann@private.test')
    },
    cure: async (world) => {
      await world.internet.exchanger('mx2.private.test')
      world.internet.dns.set('private.test', 'MX', ['10 mx2.private.test'], 1)
      await world.internet.dns.asked('private.test', 'MX', 1)
      return world.send('ann@private.test', { send_at: new Date(Date.now() + 7_000).toISOString() })
    },
  },
  {
    name: 'a certificate that the receiving domain’s MTA-STS policy does not allow',
    kind: 'tls',
    status: 'deferred',
    remedy: /owner of sts\.test has to mend the certificate of mx\.sts\.test or the published policy/,
    seed: async (world) => {
      await world.site('sts.test', {}, { starttls: true })
      await publishPolicy(world, 'sts.test', 'enforce')
      return world.send('ann@sts.test')
    },
    cure: async (world, id) => {
      await publishPolicy(world, 'sts.test', 'testing')
      return id
    },
  },
  {
    name: 'a certificate that is not the one of the TLSA record',
    kind: 'tls',
    status: 'deferred',
    remedy: /owner of dane\.test has to mend the certificate of mx\.dane\.test or the published policy/,
    seed: async (world) => {
      await world.site('dane.test', {}, { starttls: true })
      world.internet.dns.signed.add('dane.test')
      publishCertificate(world, 'ab'.repeat(32))
      return world.send('ann@dane.test')
    },
    cure: async (world, id) => {
      publishCertificate(world, await spki())
      return id
    },
  },
]
