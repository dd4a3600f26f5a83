/**
 * What takes mail over SMTP: the listeners for submission, and the one for bounces and complaints. Everything is wired here and nowhere else.
 */
import { hostname } from 'node:os'
import { createMailLog, type MailLog, openBounceJudge } from '@valija/core'
import {
  acceptedCounted,
  createAuthenticator,
  createReportAddresses,
  type Foundation,
  type MailCounters,
  meterMailLog,
  openSending,
  reportsCounted,
  StartError,
  submitMessage,
  takeReport,
} from '@valija/flows'
import {
  type Config,
  type Life,
  type Logger,
  lineWriter,
  type Metrics,
  whyNotListening,
} from '@valija/runtime'
import { type Certificate, readCertificate, watchCertificate } from './certificate.ts'
import type { Place } from './listen.ts'
import { startReportListener } from './report-listener.ts'
import {
  createSubmissionRoom,
  type SubmissionListener,
  type SubmissionOptions,
  startSubmissionListener,
  submissionLimits,
} from './submission-listener.ts'
import { createLogins } from './submission-login.ts'

export interface SmtpParts {
  config: Config
  foundation: Foundation
  /** Null where nobody can read them: a process of its own has no HTTP. */
  metrics: Metrics | null
  log: Logger
  life: Life
  /** Where none is configured; null: then there is no TLS. */
  ownCertificate?: () => Promise<Certificate | null>
  /** Listeners for which any free port will do where theirs is taken. */
  takesAnyPort?: { bounce: boolean; submission: boolean }
}

export interface SmtpAddresses {
  bounce: Address
  submission: Address
  /** Null: there is none. */
  submissions: Address | null
}

interface Address {
  host: string
  port: number
}

/** What both kinds of listeners are made with. */
interface Shared extends SmtpParts {
  name: string
  certificate: Certificate | null
  counters: IntakeCounters | null
  mailLog: MailLog
}

/**
 * Starts the listeners; everything is registered with `life` to be stopped.
 *
 * @throws {StartError} when the certificate cannot be used, or a port is not to be had
 */
export async function startSmtp(parts: SmtpParts): Promise<SmtpAddresses> {
  const { config, metrics, log, life } = parts
  // Before anybody is served: loaded later it would hold up all mails for as long, or be gone with an upgrade in place.
  await parts.foundation.database.load()
  const counters = metrics === null ? null : createCounters(metrics)
  const shared: Shared = {
    ...parts,
    name: config.ehloName ?? hostname(),
    certificate: (await readCertificate(config)) ?? (await parts.ownCertificate?.()) ?? null,
    counters,
    mailLog: meterMailLog(createMailLog(lineWriter(log)), counters ?? {}),
  }
  const { bounce, renew: renewBounce } = await startBounces(shared)
  const submission = await startSubmission(shared)
  if (shared.certificate === null) log.warn(noLogins)
  const stopWatching = watchCertificate(config, {
    present: shared.certificate,
    onChanged: (certificate) => {
      renewBounce(certificate)
      submission.renew(certificate)
      log.info('the certificate was renewed: new connections get it')
    },
    onFault: (err) => log.error({ err }, 'the certificate has changed and cannot be used: the old one stays'),
  })
  life.onStop({ name: 'certificate', stop: async () => stopWatching() })
  return { bounce, ...submission.addresses }
}

const noLogins =
  'submission takes no logins: set VALIJA_TLS_CERT and VALIJA_TLS_KEY, since API keys are taken under TLS only'

async function startBounces(shared: Shared) {
  const { config, foundation, certificate, counters, log, life, name, mailLog } = shared
  const addresses = createReportAddresses(foundation)
  const desk = { ...foundation, addresses, judgeBounce: openBounceJudge(), mailLog }
  const place = {
    host: config.host,
    port: config.bouncePort,
    takesAnyPort: shared.takesAnyPort?.bounce ?? false,
  }
  const listener = await startReportListener({
    ...place,
    name,
    certificate,
    maxSizeBytes: Math.ceil(config.maxMessageSizeBytes * sizeOfReturned),
    read: addresses.read,
    take: (raw, recipients) => takeReport(desk, { raw, recipients, via: { kind: 'smtp' } }),
    onRefused: (reason) => counters?.refused.add({ reason }),
    onError: (err) => log.error({ err }, 'bounce intake trouble'),
  }).catch(refuseStart('The bounce intake', 'VALIJA_BOUNCE_PORT', place))
  life.onStop({ name: 'bounce intake', stop: () => listener.close(), hurry: () => listener.hurry() })
  const { host, port } = listener
  log.info({ host, port, tls: certificate !== null }, 'bounce intake ready')
  return { bounce: { host, port }, renew: listener.renew }
}

/** A bounce may return the whole mail, and adds to it. */
const sizeOfReturned = 1.5

async function startSubmission(shared: Shared) {
  const { config, foundation, log, life, name, mailLog, counters, certificate } = shared
  const onError = (err: Error) => log.error({ err }, 'submission trouble')
  const { database, wake, clock } = foundation
  const authenticator = createAuthenticator({ database, wake, clock, adminKey: config.adminKey })
  const sending = await openSending({ foundation, config, mailLog, onError })
  const options: SubmissionOptions = {
    name,
    certificate,
    maxSizeBytes: config.maxMessageSizeBytes,
    logins: createLogins({
      authenticate: authenticator.authenticate,
      onLogin: (outcome) => counters?.logins.add({ outcome }),
      onSlowed: (peer) =>
        log.warn({ peer }, 'logins are turned away: too many have failed from this address'),
    }),
    submit: (caller, submission, hold) => submitMessage(sending, caller, submission, hold),
    onRefused: (reason) => counters?.submissionRefused.add({ reason }),
    onError,
    limits: submissionLimits,
  }
  const room = createSubmissionRoom(options)
  const listeners: SubmissionListener[] = []
  life.onStop({
    name: 'submission',
    stop: async () => {
      await Promise.all(listeners.map((listener) => listener.close()))
      await sending.close()
      authenticator.close()
    },
    hurry: () => {
      for (const listener of listeners) listener.hurry()
    },
  })
  const open = async (port: number, isImplicitTls: boolean): Promise<Address> => {
    const variable = isImplicitTls ? 'VALIJA_SUBMISSIONS_PORT' : 'VALIJA_SUBMISSION_PORT'
    const takesAnyPort = !isImplicitTls && (shared.takesAnyPort?.submission ?? false)
    const place = { host: config.host, port, takesAnyPort, isImplicitTls }
    const starting = startSubmissionListener(place, options, room)
    const listener = await starting.catch(refuseStart('Submission', variable, place))
    listeners.push(listener)
    const address = { host: listener.host, port: listener.port }
    const tls = certificate === null ? 'none' : isImplicitTls ? 'implicit' : 'starttls'
    log.info({ ...address, tls }, 'submission ready')
    return address
  }
  const { submissionPort, submissionsPort } = config
  return {
    addresses: {
      submission: await open(submissionPort, false),
      submissions: submissionsPort === null ? null : await open(submissionsPort, true),
    },
    renew: (renewed: Certificate) => {
      for (const listener of listeners) listener.renew(renewed)
    },
  }
}

interface IntakeCounters extends MailCounters {
  refused: { add(labels: { reason: string }, by?: number): void }
  logins: { add(labels: { outcome: string }, by?: number): void }
  submissionRefused: { add(labels: { reason: string }, by?: number): void }
}

function createCounters(metrics: Metrics): IntakeCounters {
  return {
    accepted: metrics.count(acceptedCounted),
    reports: metrics.count(reportsCounted),
    refused: metrics.count({
      name: 'valija_report_refusals_total',
      help: 'Recipients, mails and connections that the bounce intake refused: foreign, forged and expired addresses, no room, PostgreSQL away.',
      labels: ['reason'],
    }),
    logins: metrics.count({
      name: 'valija_submission_logins_total',
      help: 'Logins by SMTP, by outcome: in, wrong (no key of ours), restricted (one that may not do this), slowed (too many failures before), trouble.',
      labels: ['outcome'],
    }),
    submissionRefused: metrics.count({
      name: 'valija_submission_refusals_total',
      help: 'Connections, logins, senders, recipients and mails that submission refused: by what, or for a mail the code of the error.',
      labels: ['reason'],
    }),
  }
}

function refuseStart(what: string, variable: string, { host, port }: Place) {
  return (error: NodeJS.ErrnoException): never => {
    throw new StartError(whyNotListening(error, { what, variable, host, port }), { cause: error })
  }
}
