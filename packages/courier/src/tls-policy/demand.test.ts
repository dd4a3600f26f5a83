import { expect, test } from 'vitest'
import { strongest, type TlsDemand } from './demand.ts'

const tlsa = [{ usage: 3, selector: 1, matchingType: 1, data: Buffer.alloc(32) }]
const demands: TlsDemand[] = [
  { tls: 'opportunistic', tlsPolicy: 'opportunistic' },
  { tls: 'encrypted', tlsPolicy: 'encrypted' },
  { tls: 'required', tlsNames: ['mx.example.com'], tlsPolicy: 'mta-sts' },
  { tls: 'dane', tlsa, tlsNames: ['mx.example.com', 'example.com'], tlsPolicy: 'dane' },
]

test('the stronger demand holds whole, from whichever side it comes', () => {
  for (const [weak, weaker] of demands.entries()) {
    for (const stronger of demands.slice(weak)) {
      expect(strongest(weaker, stronger)).toEqual(stronger)
      expect(strongest(stronger, weaker)).toEqual(stronger)
    }
  }
})

test('a verified name for one message does not widen what a policy names, and the policy keeps the attribution that comes first', () => {
  const sts = { tls: 'required', tlsNames: ['mx.example.com'], tlsPolicy: 'mta-sts' } as const
  const message = { tls: 'required', tlsPolicy: 'required' } as const
  expect(strongest(sts, message)).toEqual(sts)
  expect(strongest(message, sts)).toEqual({ ...message, tlsNames: ['mx.example.com'] })
})

test('of two lists of names both must agree', () => {
  const a = { tls: 'required', tlsNames: ['mx.example.com', 'example.com'] } as const
  const b = { tls: 'required', tlsNames: ['example.com', 'example.net'] } as const
  expect(strongest(a, b).tlsNames).toEqual(['example.com'])
  expect(strongest(a, { tls: 'required', tlsNames: ['example.net'] }).tlsNames).toEqual([])
})
