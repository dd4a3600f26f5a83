import { describe, expect, test } from 'vitest'
import { createApiKey, hashApiKey, isPlausibleApiKey } from './api-key.ts'

describe('an API key', () => {
  test('has the form vlj_<random>_<checksum>, and only its hash needs to be kept', () => {
    const made = createApiKey()
    expect(made.key).toMatch(/^vlj_[0-9A-Za-z]{32}_[0-9A-Za-z]{6}$/)
    expect(made.hash).toEqual(hashApiKey(made.key))
    expect(isPlausibleApiKey(made.key)).toBe(true)
  })

  test('with any one character mistyped is refused by its checksum', () => {
    const { key } = createApiKey()
    for (let i = 4; i < key.length; i++) {
      if (key[i] === '_') continue
      const wrong = key.slice(0, i) + (key[i] === 'x' ? 'y' : 'x') + key.slice(i + 1)
      expect(isPlausibleApiKey(wrong), wrong).toBe(false)
    }
  })

  test('with something before or after it is not one', () => {
    const { key } = createApiKey()
    for (const bad of [` ${key}`, `${key}\n`, `Bearer ${key}`, key.slice(0, -1), '']) {
      expect(isPlausibleApiKey(bad)).toBe(false)
    }
  })
})
