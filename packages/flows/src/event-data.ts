/** What the events about a recipient tell: see `MessageEventData` of @valija/core. */
import { formatId, type Simulation, type Stream, type Uuid } from '@valija/core'

/** The part of `data` that all message.* events share. */
export function eventData(
  message: {
    id: Uuid
    stream: Stream
    fromDomain: string
    tags: readonly string[]
    metadata: Readonly<Record<string, string>>
  },
  recipient: { id: Uuid; email: string },
  simulation: Simulation | null,
  seq: number,
): object {
  return {
    message_id: formatId('message', message.id),
    recipient_id: formatId('recipient', recipient.id),
    email: recipient.email,
    domain: message.fromDomain,
    stream: message.stream,
    tags: message.tags,
    metadata: message.metadata,
    seq,
    ...(simulation !== null && { simulated: true }),
  }
}
