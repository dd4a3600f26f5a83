import { createOpenSession } from './open-session.ts'
import { describeSession } from './testing/session-conformance.ts'

describeSession('nodemailer', (guard) => createOpenSession({ guard }))
