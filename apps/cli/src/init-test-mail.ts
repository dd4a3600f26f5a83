/** The test mail of `valija init`: accepted like any other, at the database; a worker sends it. */
import { createHash } from 'node:crypto'
import { type Caller, createMailLog } from '@valija/core'
import { createAuthenticator, type Foundation, openSending } from '@valija/flows'
import type { Config } from '@valija/runtime'
import type { Findings, Outcome } from './init-report.ts'

export interface ActingTenant {
  foundation: Foundation
  /** `ten_…` */
  id: string
}

/** The operator, for the tenant. */
export async function actFor({ foundation, id }: ActingTenant, { adminKey }: Config): Promise<Caller> {
  const authenticator = createAuthenticator({ ...foundation, adminKey })
  const authorization = `Bearer ${adminKey}`
  const caller = authenticator.authenticate({ authorization, tenant: id, ip: '127.0.0.1' })
  return caller.finally(() => authenticator.close())
}

/** As for a request. */
const answerMs = 10_000

/** Repeated for the same address within the time of idempotency keys it is the same mail. */
export async function sendTestMail(
  tenant: ActingTenant,
  config: Config,
  domain: string,
  to: string,
): Promise<Outcome & { found?: Partial<Findings> }> {
  if (config.delivery === null) return { status: 'skipped', detail: 'waits for delivery' }
  const mail = {
    from: `Valija <valija@${domain}>`,
    to,
    subject: `Test mail of ${domain}`,
    text: `This mail was sent by valija init, to see that mail from ${domain} arrives.\n`,
  }
  const claim = {
    key: `valija-init-${createHash('sha256').update(to).digest('hex')}`,
    bodyHash: createHash('sha256').update(JSON.stringify(mail)).digest(),
  }
  // What the log of an API would say stands in the step's line.
  const mailLog = createMailLog(() => undefined)
  const onError = (error: Error) => process.stderr.write(`valija: ${error.message}\n`)
  const sending = await openSending({ foundation: tenant.foundation, config, mailLog, onError })
  try {
    const caller = await actFor(tenant, config)
    const answer = await sending.sendDesk.send(caller, mail, claim, performance.now() + answerMs)
    const { id } = JSON.parse(answer.body) as { id: string }
    return {
      status: answer.isReplay ? 'done_before' : 'done',
      detail: `${id} to ${to} ${answer.isReplay ? 'was accepted before' : 'is accepted; a worker (npm run valija -- worker) sends it'}`,
      fix: `What becomes of it, once an API runs: npm run valija -- message show ${id} --url <url> --tenant ${tenant.id}`,
      found: { message_id: id },
    }
  } finally {
    await sending.close()
  }
}
