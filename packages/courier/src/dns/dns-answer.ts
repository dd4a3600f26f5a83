/**
 * What a question to the DNS can end in. Never an exception: "not there" and "could not be asked" lead a mail to different ends.
 */

/** The types that delivery asks for, with what a record of each is told as. */
export interface DnsRecords {
  A: string
  AAAA: string
  /** `exchange` in lower case without final dot; `.` is an empty string (RFC 7505). */
  MX: { exchange: string; priority: number }
  /** The strings of one record, joined. */
  TXT: string
  TLSA: TlsaRecord
  CNAME: string
  PTR: string
}
export type DnsType = keyof DnsRecords

/** RFC 6698 §2.1. */
export interface TlsaRecord {
  usage: number
  selector: number
  matchingType: number
  data: Buffer
}

/** `by`: whose answer it is, as people are told ("the resolver", "resolver 2"); only from a resolver that is made to say so. */
export type DnsAnswer<T extends DnsType> = { by?: string } & (
  | {
      kind: 'records'
      records: DnsRecords[T][]
      /** A validating resolver that we trust vouches for it (AD, RFC 4035 §3.2.3). */
      isAuthenticated: boolean
    }
  /** The name is there, and has no such record. */
  | { kind: 'no_data'; isAuthenticated: boolean }
  /** NXDOMAIN. `isConfirmed`: a second resolver says so too. */
  | { kind: 'unknown_name'; isAuthenticated: boolean; isConfirmed: boolean }
  /**
   * SERVFAIL, REFUSED, time-out, nonsense: nothing is known. `detail` is a sentence for people. `isOwnWant`: this process had no
   * socket to ask by, so nobody was asked.
   */
  | { kind: 'unavailable'; detail: string; isOwnWant?: true }
)

export interface Resolver {
  /** Never throws. Follows aliases; answers are kept by their TTL, and look-ups of one question under way are joined. */
  resolve<T extends DnsType>(name: string, type: T): Promise<DnsAnswer<T>>
  /** Ends the sockets; questions under way end as `unavailable`. */
  close(): void
}
