/**
 * What can be seen of an SPF record (RFC 7208) by reading it. Whether it allows an address, and how many look-ups that takes,
 * only evaluating it tells (packages/courier/src/receiver-checks.ts).
 */
import { findTextFault, type RecordFault, recordFault } from './record-fault.ts'

/** RFC 7208 §4.5: exactly this, and then a space or the end. */
const isSpf = (text: string) => /^v=spf1(?: |$)/i.test(text)
/** What somebody meant to be one. */
const isMeantAsSpf = (text: string) => /^\W*v?\s*=?\s*spf\s*[1i](?![0-9.])/i.test(text)

/**
 * @param found all TXT records at the name, the strings of each joined
 * @returns null when there is exactly one SPF record and nothing can be said against it
 */
export function findSpfFault(found: readonly string[]): RecordFault | null {
  const records = found.filter(isSpf)
  const [record] = records
  if (records.length > 1) {
    // RFC 7208 §4.5: permerror.
    const text = `There are ${records.length} SPF records, which is an error to every receiver. Put what they allow into one, and remove the others.`
    return recordFault('several_spf', text)
  }
  if (record === undefined) return describeAbsence(found)
  const fault = findTextFault(record)
  if (fault !== null) return fault
  if (/(?:^| )\+?all(?: |$)/i.test(record)) {
    const text =
      'It ends in "all" or "+all", which lets everybody send for the domain. End it in "~all" or "-all".'
    return recordFault('spf_allows_all', text)
  }
  return null
}

function describeAbsence(found: readonly string[]): RecordFault {
  const meant = found.find(isMeantAsSpf)
  if (meant === undefined)
    return recordFault('missing', 'There is no SPF record (a TXT record that begins with "v=spf1 ").')
  return (
    findTextFault(meant) ??
    recordFault('spf_malformed', `"${meant.slice(0, 40)}" is no SPF record: it has to begin with "v=spf1 ".`)
  )
}
