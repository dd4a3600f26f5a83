/** What is not understood refuses, and nonsense breaks nothing. What a path needs besides is tested in dane.test.ts. */
import type { X509Certificate } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { oddCertificates as odd } from '../testing/odd-certificates.ts'
import { readExtensions } from './certificate-extensions.ts'
import { findPathToAnchor } from './certificate-path.ts'

const pathOf = (leaf: X509Certificate, anchor: X509Certificate) =>
  findPathToAnchor({
    leaf,
    others: [anchor],
    isAnchor: (certificate) => certificate === anchor,
    anchorKeys: [],
    at: new Date(),
  })

describe('a path', () => {
  test('leads through an authority without constraints', () => {
    expect(pathOf(odd.withUnknown, odd.authority)).toBeNull()
  })

  test('does not through one whose names are constrained, marked as critical or not', () => {
    for (const [leaf, authority] of [
      [odd.underConstrained, odd.constrained],
      [odd.underSoftlyConstrained, odd.softlyConstrained],
    ] as const) {
      expect(pathOf(leaf, authority)).toMatchObject({
        fault: 'not-trusted',
        detail: expect.stringContaining('2.5.29.30'),
      })
    }
  })

  test('does not begin at a certificate with a critical extension that nobody knows (RFC 5280 §4.2)', () => {
    expect(pathOf(odd.withUnknownCritical, odd.authority)).toMatchObject({
      fault: 'not-trusted',
      detail: expect.stringContaining('1.2.3.4.5'),
    })
  })
})

describe('extensions', () => {
  test('are read as they are', () => {
    expect(readExtensions(odd.authority.raw)).toEqual({ pathLength: 3, notUnderstood: [] })
    expect(readExtensions(odd.withUnknown.raw)).toEqual({ pathLength: null, notUnderstood: [] })
    expect(readExtensions(odd.withUnknownCritical.raw)?.notUnderstood).toEqual(['1.2.3.4.5'])
  })

  test('of what is cut off anywhere are unknown', () => {
    const { raw } = odd.authority
    for (let length = 0; length < raw.length; length += 1) {
      expect(readExtensions(raw.subarray(0, length))).toBeNull()
    }
  })

  test('of changed octets are read or unknown, and nothing else happens', () => {
    const { raw } = odd.withUnknownCritical
    for (let at = 0; at < raw.length; at += 1) {
      for (const value of [0x00, 0x02, 0x30, 0x7f, 0x80, 0x84, 0xff]) {
        const changed = Buffer.from(raw)
        changed[at] = value
        const read = readExtensions(changed)
        if (read !== null) expect(Array.isArray(read.notUnderstood)).toBe(true)
      }
    }
  })
})
