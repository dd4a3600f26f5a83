/** The part of mailauth's MTA-STS module that is used here: it documents the import of this path, and types it nowhere. */
declare module 'mailauth/lib/mta-sts.js' {
  interface StsPolicyFile {
    mode: 'enforce' | 'testing' | 'none'
    /** Seconds, at most 31557600. */
    maxAge: number
    /** Patterns in lower case; absent in mode `none`. */
    mx?: string[]
  }

  /** @throws an Error whose message says what is wrong with the file */
  export function parsePolicy(file: string, options: { strict: boolean }): StsPolicyFile
  export function validateMx(host: string, policy: StsPolicyFile): { valid: boolean }
  /** @returns the record's id, or false; rejects when there are several records, and with what `resolver` throws */
  export function resolvePolicy(
    domain: string,
    options: { strict: boolean; resolver: (name: string, type: string) => Promise<string[][]> },
  ): Promise<string | false>
}
