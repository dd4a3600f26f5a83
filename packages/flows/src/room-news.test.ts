import type { Wake } from '@valija/store'
import { expect, test } from 'vitest'
import { createRoomNews } from './room-news.ts'
import { laterPayload, roomPayload } from './settle-desk.ts'

/** @returns what was told to all processes, and the news of room */
function open() {
  const told: string[] = []
  const wake: Wake = {
    send: (topic, payload = '') => void told.push(`${topic}:${payload}`),
    on: () => () => {},
    close: async () => {},
  }
  return { told, news: createRoomNews(wake) }
}

test('room is told to all processes until this one has a dispatcher, and while another one leads', () => {
  const { told, news } = open()
  news.wake.send('dispatch', roomPayload)
  news.attach({ takeRoom: () => false })
  news.wake.send('dispatch', roomPayload)
  expect(told).toEqual([`dispatch:${roomPayload}`, `dispatch:${roomPayload}`])
})

test('room is told to nobody else where this process leads; all other news is', () => {
  const { told, news } = open()
  let taken = 0
  news.attach({ takeRoom: () => ++taken > 0 })
  news.wake.send('dispatch', roomPayload)
  news.wake.send('dispatch', laterPayload)
  news.wake.send('dispatch')
  news.wake.send('webhooks')
  expect(taken).toBe(1)
  expect(told).toEqual([`dispatch:${laterPayload}`, 'dispatch:', 'webhooks:'])
})
