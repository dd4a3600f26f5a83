/**
 * News of room: a worker has taken rows or is done with some, with each lease and each settle. Only the dispatcher is after it, so where that is
 * in the same process it is told directly. A NOTIFY is a round trip, and wakes the listening connection of every process: at half load
 * there was one for four mails.
 */
import type { Wake } from '@valija/store'
import type { Dispatcher } from './dispatch-deliveries.ts'
import { roomPayload } from './settle-desk.ts'

export interface RoomNews {
  /** For those who make room: as the one it stands for, but for this news. */
  readonly wake: Wake
  /** Names this process's own dispatcher. Until then, and while another process leads, the news goes to all. */
  attach(dispatcher: Pick<Dispatcher, 'takeRoom'>): void
}

export function createRoomNews(wake: Wake): RoomNews {
  let dispatcher: Pick<Dispatcher, 'takeRoom'> | null = null
  return {
    wake: {
      ...wake,
      send: (topic, payload) => {
        const isTaken = topic === 'dispatch' && payload === roomPayload && dispatcher?.takeRoom()
        if (!isTaken) wake.send(topic, payload)
      },
    },
    attach: (own) => {
      dispatcher = own
    },
  }
}
