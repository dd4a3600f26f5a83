/**
 * The mailbox simulator: addresses at `simulator.valija.test` that walk the real states with real events and never leave the
 * machine (RFC 6761 reserves `.test`). A label after `+` is ignored: `bounced+order42@simulator.valija.test`.
 */
import type { Address } from '@valija/mail'

export const simulatorDomain = 'simulator.valija.test'

export const simulations = [
  'delivered',
  'bounced',
  'deferred',
  'complained',
  'suppressed',
  'timeout',
] as const
export type Simulation = (typeof simulations)[number]

/**
 * What to simulate for an address.
 *
 * @param isSandbox whether the whole message is simulated: then any other address is delivered at once
 * @returns null for an address that is really sent to
 */
export function simulationOf(
  address: Pick<Address, 'key' | 'domain'>,
  isSandbox: boolean,
): Simulation | null {
  if (address.domain === simulatorDomain) {
    const name = address.key.split('@', 1)[0]?.split('+', 1)[0] ?? ''
    const known = simulations.find((simulation) => simulation === name)
    if (known !== undefined) return known
    return isSandbox ? 'delivered' : 'bounced'
  }
  return isSandbox ? 'delivered' : null
}
