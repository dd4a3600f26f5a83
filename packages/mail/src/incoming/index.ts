/** What mails to our return paths and report addresses say. */
export * from './incoming-mail.ts'
export { readIncoming } from './read-incoming.ts'
