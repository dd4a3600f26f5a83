/** What can be wrong with a record of a domain: a word for programs, and a sentence for people that says what was found. */

/** Each with what it means; docs/api-guide.md lists them. */
export const recordFaults = {
  missing: 'there is no such record',
  no_answer: 'the DNS gave no answer, so nothing is known',
  doubled_name: 'published below the name doubled: the provider’s form appends the domain by itself',
  wrong_name: 'published at another name',
  wildcard: 'a wildcard answers for the name, and the record itself is not there',
  alias_beside_records: 'an alias (CNAME) has other records beside it, which no name may have',
  dangling_alias: 'the name is an alias (CNAME) of a name without such a record',
  not_an_alias: 'the name has records of its own instead of the alias (CNAME)',
  wrong_target: 'the alias (CNAME) leads elsewhere',
  doubled_target: 'the target of the alias has the domain appended: its final dot was left out',
  several_records: 'there are several records where only one may be',
  split_over_records: 'one value was published as several records instead of several strings of one',
  wrong_token: 'the token is not this tenant’s for this domain',
  quoted: 'quotation marks are part of the text',
  escaped: 'backslashes are part of the text',
  malformed: 'the text is not of the form that it must have',
  cut_off: 'the value ends too early',
  overlong: 'something stands behind the value',
  wrong_key: 'it holds another key',
  wrong_key_type: 'its k= names another kind of key',
  revoked: 'its p= is empty, which revokes the key',
  restricted: 'its h= or s= does not allow what we do',
  several_spf: 'there are two SPF records or more, which is an error to every receiver',
  spf_too_many_lookups: 'the SPF record needs more than ten look-ups, which is an error to every receiver',
  spf_too_many_voids: 'more than two look-ups of the SPF record find nothing, which is an error to receivers',
  spf_malformed: 'the SPF record cannot be read',
  spf_allows_all: 'the SPF record lets everybody send for the domain',
  spf_lacks_sender: 'the SPF record does not allow an address that mail leaves from',
  several_dmarc: 'there are two DMARC records or more, which counts as none',
  dmarc_malformed: 'the DMARC record cannot be read, or says nothing that receivers act upon',
  dmarc_report_address: 'an address for reports in the DMARC record is not of the form mailto:…',
} as const satisfies Record<string, string>

export type RecordFaultCode = keyof typeof recordFaults

export interface RecordFault {
  code: RecordFaultCode
  /** One or more sentences. */
  text: string
}

export function recordFault(code: RecordFaultCode, text: string): RecordFault {
  return { code, text }
}

/** What panels for DNS do to any text: its quotation marks or escapes become part of it. */
export function findTextFault(text: string): RecordFault | null {
  if (text.includes('\\'))
    return recordFault('escaped', 'The text holds backslashes. Publish it without them.')
  if (/["“”„]/.test(text)) {
    return recordFault('quoted', 'The text holds quotation marks. Publish it without them.')
  }
  return null
}
