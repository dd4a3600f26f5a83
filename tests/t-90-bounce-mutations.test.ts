/**
 * 100,000 mutated bounces: none crashes the reader or the judge, none takes over a second of CPU, and memory stays bounded.
 *
 * The mails are made here (support/bounce-mails.ts) from a seed for each thousand, so that any of them can be made again.
 */
import { Buffer } from 'node:buffer'
import { createBounceJudge, loadBounceRules, reasons } from '@valija/core'
import { readIncoming } from '@valija/mail'
import { expect, test } from 'vitest'
import { mutate, randomFrom, seedMails } from './support/bounce-mails.ts'
import { liveMemory } from './support/live-memory.ts'
import { scaled, timeFor } from './support/scale.ts'

const judge = createBounceJudge(loadBounceRules())
const mails = seedMails.map((mail) => Buffer.from(mail))
const MAX_CPU_MS = 1_000
/** Above what the process holds before. */
const MAX_GROWTH_OCTETS = 50 * 1024 * 1024

/** Reads and judges one mail; a thrown error is the test's. */
async function read(mail: Buffer): Promise<{ kind: string; cpuMs: number }> {
  const before = process.cpuUsage()
  const incoming = await readIncoming(mail)
  const judged = incoming.kind === 'bounce' ? incoming.recipients.map(judge) : []
  const { user, system } = process.cpuUsage(before)
  expect(judged.every(({ reason }) => reasons.includes(reason))).toBe(true)
  return { kind: incoming.kind, cpuMs: (user + system) / 1_000 }
}

test('the mails that are mutated are what they should be', async () => {
  const kinds = await Promise.all(mails.map(async (mail) => (await readIncoming(mail)).kind))
  expect(kinds.filter((kind) => kind === 'bounce')).toHaveLength(8)
  expect(new Set(kinds)).toEqual(new Set(['bounce', 'complaint', 'dmarc_report', 'auto_reply']))
})

test('no mutated bounce crashes, takes a second of CPU, or keeps memory', {
  timeout: timeFor(120_000),
}, async () => {
  const thousands = scaled(100, 1)
  const counts = new Map<string, number>()
  const atFirst = liveMemory()
  let worst = { cpuMs: 0, name: '' }
  let growth = 0
  for (let seed = 1; seed <= thousands; seed++) {
    const random = randomFrom(seed)
    for (let index = 0; index < 1_000; index++) {
      const mail = mutate(mails[index % mails.length] as Buffer, mails, random)
      const { kind, cpuMs } = await read(mail)
      counts.set(kind, (counts.get(kind) ?? 0) + 1)
      if (cpuMs > worst.cpuMs) worst = { cpuMs, name: `seed ${seed}, mail ${index}, ${mail.length} octets` }
    }
    growth = Math.max(growth, liveMemory() - atFirst)
  }
  expect(worst.cpuMs, worst.name).toBeLessThan(MAX_CPU_MS)
  expect(growth).toBeLessThan(MAX_GROWTH_OCTETS)
  // Mutations that leave nothing to read would show nothing.
  expect(counts.get('bounce') ?? 0).toBeGreaterThan(thousands * 200)
})
