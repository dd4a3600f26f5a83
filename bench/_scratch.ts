import { openSync } from 'node:fs'
import pino from 'pino'
import MailComposer from 'nodemailer/lib/mail-composer'
import { validateMessage } from '@valija/core'
import { compose, parseAddress } from '@valija/mail'
import { createLogger, withoutSecrets } from '@valija/runtime'
import { encodeBody, decodeBody } from '@valija/store'
import { receipt, createBodyWriter } from './receipt.ts'
import Fastify from 'fastify'
const cpu = async (name: string, n: number, f: (i: number) => unknown) => { for (let i=0;i<300;i++) await f(i); const c0=process.cpuUsage(); for (let i=0;i<n;i++) await f(i); const c=process.cpuUsage(c0); console.error(name.padEnd(48), ((c.user+c.system)/1000/n).toFixed(4), 'ms') }
const r = receipt(1)
const v = validateMessage(r as never, { maxMessageSizeBytes: 4e7, now: new Date() }) as any
const m = v.value
const composition = { from: m.from, replyTo: m.replyTo, to: m.to, cc: m.cc, subject: m.subject, text: m.text, html: m.html, headers: [...m.headers, ['Auto-Submitted','auto-generated']], attachments: [], messageId: '<a@b.test>', date: new Date(), boundarySeed: 'a'.repeat(32) } as any
const blob = encodeBody({ kind: 'fields', composition })
await cpu('validateMessage', 2000, () => validateMessage(r as never, { maxMessageSizeBytes: 4e7, now: new Date() }))
await cpu('encodeBody', 2000, () => encodeBody({ kind: 'fields', composition }))
await cpu('decodeBody', 2000, () => decodeBody(blob))
await cpu('compose (now)', 1000, () => compose(composition))
const crlf = (s: string) => s.replace(/\r\n|\r|\n/g, '\r\n')
const build = (extra: object, alt: object) => new MailComposer({ alternatives: [{ contentType: 'text/plain; charset=utf-8', content: crlf(m.text), ...alt }, { contentType: 'text/html; charset=utf-8', content: crlf(m.html), ...alt }], messageId: '<a@b.test>', date: new Date(), baseBoundary: 'a'.repeat(32), ...extra } as any).compile().build()
await cpu('MailComposer as now', 1000, () => build({}, {}))
await cpu('MailComposer textEncoding Q', 1000, () => build({ textEncoding: 'quoted-printable' }, {}))
await cpu('MailComposer per part CTE qp', 1000, () => build({}, { contentTransferEncoding: 'quoted-printable' }))
await cpu('MailComposer per part CTE base64', 1000, () => build({}, { contentTransferEncoding: 'base64' }))
console.error((await build({}, {})).length, (await build({}, { contentTransferEncoding: 'quoted-printable' })).length, (await build({}, { contentTransferEncoding: 'base64' })).length, (await build({},{})).equals(await build({}, { contentTransferEncoding: 'quoted-printable' })))
const line = { message: 'msg_'+'0'.repeat(32), recipient: 'rcp_'+'0'.repeat(32), tenant: 'ten_'+'0'.repeat(32), to: 'a@b.test', attempt: 1, route: 'smarthost', host: '127.0.0.1', outcome: 'delivered', reason: null, reply: '250 2.0.0 kept', nextInMs: null, durationMs: 12 }
const log = createLogger({ level: 'info', name: 'x' })
await cpu('log line, our logger', 5000, () => log.info(line, 'delivered'))
const dest = pino.destination({ fd: 1, sync: true })
const plain = pino({ base: { name: 'x', pid: 1 }, timestamp: pino.stdTimeFunctions.isoTime }, dest)
await cpu('log line, pino plain sync', 5000, () => plain.info(line, 'delivered'))
const hooked = pino({ base: { name: 'x', pid: 1 }, timestamp: pino.stdTimeFunctions.isoTime, hooks: { streamWrite: withoutSecrets } } as any, dest)
await cpu('  + withoutSecrets', 5000, () => hooked.info(line, 'delivered'))
const F = ['password','pass','token','apiKey','adminKey','secretKey','secretKeys','metricsToken','privateKey','authorization','cookie','secret','key']
const red = pino({ base: { name: 'x', pid: 1 }, timestamp: pino.stdTimeFunctions.isoTime, redact: { paths: F.flatMap((f) => [f, `*.${f}`, `*.*.${f}`]) } } as any, dest)
await cpu('  + redact paths', 5000, () => red.info(line, 'delivered'))
const buffered = pino({ base: { name: 'x', pid: 1 }, timestamp: pino.stdTimeFunctions.isoTime }, pino.destination({ fd: 1, sync: false, minLength: 4096 }))
await cpu('log line, pino plain async 4k', 5000, () => buffered.info(line, 'delivered'))
