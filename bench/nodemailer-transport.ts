/** nodemailer's pool as the systems with it use it: as many connections, and mails on each, as Valija's worker has for a smarthost. */
import { generateKeyPairSync } from 'node:crypto'
import { createTransport } from 'nodemailer'
import { senderDomain } from './mails.ts'

const connections = 20
const mailsPerConnection = 1_000
/** Mails that a program hands in before it waits for one of them. */
export const underWay = 5 * connections

const pem = { type: 'pkcs8', format: 'pem' } as const
const dkim = () => ({
  domainName: senderDomain(0),
  keySelector: 'bench',
  privateKey: generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export(pem).toString(),
})

/** @param isSigned by nodemailer, with a key of its own, RSA-2048 */
export function openPool(port: number, isSigned: boolean) {
  return createTransport({
    pool: true,
    host: '127.0.0.1',
    port,
    secure: false,
    ignoreTLS: true,
    maxConnections: connections,
    maxMessages: mailsPerConnection,
    ...(isSigned && { dkim: dkim() }),
  })
}
