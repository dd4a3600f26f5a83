/**
 * New DKIM keys for a domain, in two phases without a gap: they are shown with their records, and mail goes on being signed by the
 * present ones; when the record of a new key is seen in the DNS, it signs, and the old one's record stays for a while
 * (packages/store/src/domain-checks.ts). The keys are made here, or given by the tenant.
 */
import { type Caller, conflict, type FieldFault, invalidRequest, ProductError, parseId } from '@valija/core'
import { type DkimAlgorithm, importDkimKey } from '@valija/mail'
import { addNextDkimKeys, findDomain, type NewDkimKey, type StoredDomain } from '@valija/store'
import { makeDkimKeys, makeSelector, sealDkimKey } from './dkim-keys.ts'
import { type DomainDesk, type DomainView, showDomain } from './manage-domains.ts'

export interface OwnKeyInput {
  /** PEM. */
  private_key: string
  selector?: string
}

/**
 * Begins a rotation. One that is under way already is shown, and goes on with its keys.
 *
 * @throws {ProductError} not_found, invalid_request; conflict for own keys while others wait for their records
 */
export async function rotateDkim(
  desk: DomainDesk,
  caller: Caller,
  id: string,
  own: readonly OwnKeyInput[],
): Promise<DomainView> {
  const uuid = parseId('domain', id)
  const domain = uuid && (await findDomain(desk.database, caller.tenantId, uuid))
  if (!domain) throw new ProductError('not_found')
  const isUnderWay = domain.dkimKeys.some(({ state }) => state === 'next')
  if (isUnderWay && own.length === 0) return showDomain(desk, caller, id)
  const keys = own.length > 0 ? readOwnKeys(desk, domain, own) : await makeNextKeys(desk, domain)
  const added = await addNextDkimKeys(desk.database, domain, keys)
  if (added === 'gone') throw new ProductError('not_found')
  if (added === 'under_way' && own.length > 0) {
    const detail =
      'New keys of this domain wait for their records already: publish these first, so that they take over.'
    throw conflict('underWay', { detail })
  }
  desk.wake.send('keys', caller.tenantId)
  return showDomain(desk, caller, id)
}

async function makeNextKeys({ sealer }: DomainDesk, domain: StoredDomain): Promise<NewDkimKey[]> {
  const keys = await makeDkimKeys(sealer, domain, domain.dkimAlgorithms)
  return keys.map((key) => ({ ...key, state: 'next' }))
}

function readOwnKeys(
  { sealer }: DomainDesk,
  domain: StoredDomain,
  own: readonly OwnKeyInput[],
): NewDkimKey[] {
  const faults: FieldFault[] = []
  const taken = new Set(domain.dkimKeys.map(({ selector }) => selector))
  const algorithms = new Set<DkimAlgorithm>()
  const keys = own.flatMap((input, i): NewDkimKey[] => {
    const refuse = (field: keyof OwnKeyInput, message: string) => {
      faults.push({ path: `/keys/${i}/${field}`, message })
      return []
    }
    const read = importDkimKey(input.private_key)
    if (!read.ok) return refuse('private_key', read.message)
    const { algorithm, privateKey, publicKey } = read.value
    if (!domain.dkimAlgorithms.includes(algorithm)) {
      return refuse('private_key', `is an ${algorithm} key, and the domain’s dkim_algorithms leave that out`)
    }
    if (algorithms.has(algorithm))
      return refuse('private_key', `is the second ${algorithm} key; give one of each`)
    algorithms.add(algorithm)
    const selector = (input.selector ?? makeSelector(algorithm)).toLowerCase()
    const fault = findSelectorFault(selector, domain.name)
    if (fault !== null) return refuse('selector', fault)
    if (taken.has(selector)) return refuse('selector', `${selector} is in use for another key of this domain`)
    taken.add(selector)
    const sealed = sealDkimKey(sealer, domain, selector, privateKey)
    return [{ selector, algorithm, publicKey, privateKey: sealed, state: 'next', isOwn: true }]
  })
  if (faults.length > 0) throw invalidRequest(faults)
  return keys
}

const label = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/

/** RFC 6376 §3.1: labels with dots between them; the whole name has at most 253 characters. */
function findSelectorFault(selector: string, domain: string): string | null {
  if (!selector.split('.').every((part) => label.test(part))) {
    return 'must be letters, digits and hyphens, such as mail2026'
  }
  return `${selector}._domainkey.${domain}`.length > 253 ? 'is too long' : null
}
