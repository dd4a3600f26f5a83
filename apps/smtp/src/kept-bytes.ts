/** Reads mails into memory within bounds: so much of each, and so much of all that are being taken at the same time. */

export interface KeptBytes {
  /**
   * Reads a stream to its end and keeps its beginning.
   *
   * @param upTo octets that are kept; the rest is read and dropped
   * @returns null when there is no room; the stream is read to its end all the same
   * @throws {Error} the stream's
   */
  read(stream: AsyncIterable<unknown>, upTo: number): Promise<Buffer | null>
  /** Gives the room of a mail back. */
  release(kept: Buffer): void
}

/** A mail beyond this is large: large ones take only three quarters of the room, so that a small one always gets in beside them. */
const largeBytes = 256 * 1024

/** @param totalBytes of all mails together */
export function createKeptBytes(totalBytes: number): KeptBytes {
  let used = 0
  return {
    read: async (stream, upTo) => {
      let chunks: Buffer[] | null = []
      let size = 0
      const drop = () => {
        used -= size
        chunks = null
        size = 0
      }
      try {
        for await (const chunk of stream) {
          const part = (chunk as Buffer).subarray(0, Math.max(0, upTo - size))
          if (chunks === null || part.length === 0) continue
          const limit = size + part.length > largeBytes ? totalBytes * 0.75 : totalBytes
          if (used + part.length > limit) {
            drop()
            continue
          }
          used += part.length
          size += part.length
          chunks.push(part)
        }
      } catch (error) {
        drop()
        throw error
      }
      return chunks === null ? null : Buffer.concat(chunks, size)
    },
    release: (kept) => {
      used -= kept.length
    },
  }
}
