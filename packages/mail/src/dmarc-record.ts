/** What can be seen of a DMARC record (RFC 9989 §4.7, before it RFC 7489 §6.3) by reading it. */
import { findTextFault, type RecordFault, recordFault } from './record-fault.ts'
import { readTags } from './tag-list.ts'

const isDmarc = (text: string) => /^v\s*=\s*DMARC1\s*(?:;|$)/.test(text)
/** What somebody meant to be one. */
const isMeantAsDmarc = (text: string) => /dmarc/i.test(text)

const policies = ['none', 'quarantine', 'reject']

/**
 * @param found all TXT records at the name, the strings of each joined
 * @returns null when receivers take it for what it says
 */
export function findDmarcFault(found: readonly string[]): RecordFault | null {
  const records = found.filter((text) => isDmarc(text.trim()))
  const [record] = records
  if (records.length > 1) {
    const text = `There are ${records.length} DMARC records, which counts as none. Leave one.`
    return recordFault('several_dmarc', text)
  }
  if (record === undefined) return describeAbsence(found)
  const fault = findTextFault(record)
  if (fault !== null) return fault
  const tags = readTags(record)
  if (tags === null) {
    return malformed('It is not of the form "name=value; name=value", or a name comes twice.')
  }
  return findPolicyFault(tags) ?? findAddressFault(tags)
}

function describeAbsence(found: readonly string[]): RecordFault {
  const meant = found.find(isMeantAsDmarc)
  if (meant === undefined) return recordFault('missing', 'There is no DMARC record.')
  return (
    findTextFault(meant) ??
    malformed(`"${meant.slice(0, 40)}" is no DMARC record: it has to begin with "v=DMARC1;", in this case.`)
  )
}

function findPolicyFault(tags: ReadonlyMap<string, string>): RecordFault | null {
  const policy = tags.get('p')
  if (policy === undefined) return malformed('It has no p=. Say p=none, p=quarantine or p=reject.')
  for (const name of ['p', 'sp', 'np']) {
    const value = tags.get(name)
    if (value === undefined || policies.includes(value.toLowerCase())) continue
    return malformed(`Its ${name}= is "${value.slice(0, 40)}" and has to be none, quarantine or reject.`)
  }
  for (const name of ['adkim', 'aspf']) {
    const value = tags.get(name)
    if (value === undefined || /^[rs]$/i.test(value)) continue
    return malformed(`Its ${name}= is "${value.slice(0, 40)}" and has to be r or s.`)
  }
  return null
}

function findAddressFault(tags: ReadonlyMap<string, string>): RecordFault | null {
  for (const name of ['rua', 'ruf']) {
    const value = tags.get(name)
    const wrong = value?.split(',').find((uri) => !/^\s*[a-z][a-z0-9+.-]*:\S+\s*$/i.test(uri))
    if (wrong === undefined) continue
    const text = `Its ${name}= holds "${wrong.trim().slice(0, 60)}"; reports go to addresses of the form mailto:reports@example.com, with commas between them.`
    return recordFault('dmarc_report_address', text)
  }
  return null
}

function malformed(text: string): RecordFault {
  return recordFault('dmarc_malformed', text)
}
