/**
 * How many octets of request bodies a process has in its hands at once (DESIGN 4.6). A body counts from the moment its
 * length is known until its answer is out; beyond the budget a request is refused with 503, and nothing of it is kept.
 *
 * Parsed and composed, a body takes several times its length, so this bound is what keeps memory flat when a thousand
 * clients send attachments at once. Large bodies may take only three quarters of it: a one-time code gets in beside them.
 */

export interface ByteBudget {
  /** Takes `bytes` more for `holder`, whose total decides whether it is large. False: there is no room, and nothing was taken. */
  take(holder: ByteHolder, bytes: number): boolean
  giveBack(holder: ByteHolder): void
  /** Octets that are taken now. */
  readonly takenBytes: number
}

export interface ByteHolder {
  bytes: number
}

const largeBytes = 256 * 1024

export function createByteBudget(limitBytes: number): ByteBudget {
  let taken = 0
  return {
    take: (holder, bytes) => {
      const limit = holder.bytes + bytes > largeBytes ? limitBytes * 0.75 : limitBytes
      if (taken + bytes > limit) return false
      taken += bytes
      holder.bytes += bytes
      return true
    },
    giveBack: (holder) => {
      taken -= holder.bytes
      holder.bytes = 0
    },
    get takenBytes() {
      return taken
    },
  }
}
