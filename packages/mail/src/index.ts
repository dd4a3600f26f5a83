/** What RFCs say about a mail, pure: the public face of the package. */
export * from './address.ts'
export * from './compose.ts'
export * from './mailbox.ts'
export * from './raw-message.ts'
export * from './smtp-reply.ts'
export * from './verp.ts'
