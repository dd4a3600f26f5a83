import { createOpenSession } from './open-first.ts'
import { describeSession } from './testing/session-conformance.ts'

describeSession('our own session, and nodemailer for logins', (guard) => createOpenSession({ guard }))
describeSession('nodemailer for all', (guard) => createOpenSession({ guard, isNodemailerOnly: true }))
