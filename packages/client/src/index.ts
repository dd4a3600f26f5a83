/**
 * A client of Valija's HTTP API, for any platform with fetch and WebCrypto: Node 20.3 or newer, Deno, Bun, Workers.
 * Depends on nothing, of this project or of others.
 */

export { type ClientErrorCode, errorOfProblem, ValijaError } from './error.ts'
export { type EventPage, EventStream, type EventStreamOptions } from './event-stream.ts'
export type { MessageEventData, ValijaEvent, WebhookEvent } from './events.ts'
export type * from './generated/api.ts'
export { Listing, type Page } from './listing.ts'
export { type MessageSearch, Messages } from './messages.ts'
export type { EntryOf, Input, ListName, OperationName } from './operations.ts'
export type { CallOptions, TransportOptions } from './transport.ts'
export { type BatchResult, type SendOptions, Valija } from './valija.ts'
export {
  type VerifyOptions,
  verifyWebhook,
  type WebhookHeaders,
  WebhookVerificationError,
} from './verify-webhook.ts'
