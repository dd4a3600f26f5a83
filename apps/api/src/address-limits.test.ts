import { type Caller, noLimits, ProductError } from '@valija/core'
import { describe, expect, test } from 'vitest'
import { createAddressLimits, wrongKeysPerMinute } from './address-limits.ts'

const caller = { tenantId: 't', limits: noLimits() } as Caller
const isRight = async () => caller
let lookUps = 0
const isWrong = async (): Promise<Caller> => {
  lookUps += 1
  throw new ProductError('invalid_key')
}
const codeOf = (work: Promise<unknown>) =>
  work.then(
    () => 'in',
    (error: ProductError) => error.code,
  )

describe('an address', () => {
  test('has as many requests in a minute as it may, and each its own', async () => {
    const limits = createAddressLimits(2)
    const ask = (ip: string) => codeOf(limits.letIn(ip, 'Bearer a', isRight))
    expect([await ask('192.0.2.1'), await ask('192.0.2.1'), await ask('192.0.2.1')]).toEqual([
      'in',
      'in',
      'rate_limited',
    ])
    expect(await ask('192.0.2.2')).toBe('in')
  })

  test('that guesses keys is refused without a look-up, and those with keys go on from it', async () => {
    const limits = createAddressLimits(0)
    expect(await codeOf(limits.letIn('192.0.2.1', 'Bearer right', isRight))).toBe('in')
    const codes: string[] = []
    for (let i = 0; i <= wrongKeysPerMinute + 10; i++)
      codes.push(await codeOf(limits.letIn('192.0.2.1', `Bearer ${i}`, isWrong)))
    expect(codes.filter((code) => code === 'invalid_key')).toHaveLength(wrongKeysPerMinute)
    expect(lookUps).toBe(wrongKeysPerMinute)
    expect(codes.at(-1)).toBe('rate_limited')
    expect(await codeOf(limits.letIn('192.0.2.1', 'Bearer right', isRight))).toBe('in')
    expect(await codeOf(limits.letIn('192.0.2.1', 'Bearer other', isRight))).toBe('rate_limited')
    expect(await codeOf(limits.letIn('192.0.2.2', 'Bearer other', isRight))).toBe('in')
  })
})
