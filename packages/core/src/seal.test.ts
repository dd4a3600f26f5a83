import { describe, expect, test } from 'vitest'
import { createSealer, fingerprintOf, SealError } from './seal.ts'

describe('a sealed secret', () => {
  const plain = Buffer.from('whsec_canary')

  test('is opened by the key that sealed it, and does not show its content', () => {
    const sealer = createSealer(['one'])
    const sealed = sealer.seal(plain, 'webhook:t:1')
    expect(sealed.includes(plain)).toBe(false)
    expect(sealer.open(sealed, 'webhook:t:1')).toEqual(plain)
  })

  test('is opened after a rotation, by the old key in second place, and is sealed by the new one from then on', () => {
    const sealed = createSealer(['old']).seal(plain, 'x')
    const rotated = createSealer(['new', 'old'])
    expect(rotated.open(sealed, 'x')).toEqual(plain)
    expect(() => createSealer(['old']).open(rotated.seal(plain, 'x'), 'x')).toThrow(SealError)
  })

  test('bears the fingerprint of the key that sealed it, which every process with that key has', () => {
    const sealer = createSealer(['new', 'old'])
    expect(fingerprintOf(sealer.seal(plain, 'x'))).toEqual(sealer.fingerprints[0])
    expect(createSealer(['old']).fingerprints[0]).toEqual(sealer.fingerprints[1])
    expect(sealer.fingerprints[0]).not.toEqual(sealer.fingerprints[1])
  })

  test('moved to another owner, changed, or cut short is refused', () => {
    const sealer = createSealer(['one'])
    const sealed = sealer.seal(plain, 'webhook:t:1')
    const changed = Buffer.from(sealed)
    changed[sealed.length - 1]! ^= 1
    for (const [value, owner] of [
      [sealed, 'webhook:u:1'],
      [changed, 'webhook:t:1'],
      [sealed.subarray(0, 20), 'webhook:t:1'],
      [Buffer.alloc(0), 'webhook:t:1'],
    ] as const) {
      expect(() => sealer.open(value, owner)).toThrow(SealError)
    }
  })
})
