/** @valija/smtp: the process that takes mail over SMTP. `main` runs it; the all-in-one starter uses `startSmtp`. */
export { main } from './main.ts'
export { type SmtpAddresses, startSmtp } from './smtp.ts'
