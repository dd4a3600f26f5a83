/**
 * Room for so much of something at once, shared by owners of whom none may have all of it: bodies in memory by tenant, mails of mailboxes
 * by tenant, reports by the peer that sends them. Who finds none waits, first come, first served; whose owner has enough already is
 * passed over meanwhile. One that is larger than all of it has it to itself.
 */
export interface Room {
  /** True when it is taken, and `leave` with the same owner and size gives it back; false when there was none in time. */
  enter(owner: string, size: number): Promise<boolean>
  leave(owner: string, size: number): void
}

export interface RoomLimits {
  total: number
  /** Of one owner; one thing it may always have. */
  perOwner: number
  /** Null: whoever waits does so until there is room. */
  patienceMs: number | null
}

interface Waiting {
  owner: string
  size: number
  enter: () => void
}

export function createRoom({ total, perOwner, patienceMs }: RoomLimits): Room {
  let taken = 0
  const owners = new Map<string, number>()
  let line: Waiting[] = []

  const mayHave = ({ owner, size }: Waiting) => {
    const had = owners.get(owner) ?? 0
    return had === 0 || had + size <= perOwner
  }
  const take = (owner: string, size: number) => {
    taken += size
    const has = (owners.get(owner) ?? 0) + size
    if (has === 0) owners.delete(owner)
    else owners.set(owner, has)
  }
  const admit = () => {
    for (let first = line.find(mayHave); first; first = line.find(mayHave)) {
      if (taken > 0 && taken + first.size > total) return
      take(first.owner, first.size)
      first.enter()
    }
  }
  return {
    enter: (owner, size) => {
      const { promise, resolve } = Promise.withResolvers<boolean>()
      const end = (isIn: boolean) => {
        clearTimeout(timer)
        line = line.filter((other) => other !== waiting)
        resolve(isIn)
      }
      const waiting = { owner, size, enter: () => end(true) }
      const giveUp = () => {
        end(false)
        admit()
      }
      const timer = patienceMs === null ? undefined : setTimeout(giveUp, patienceMs)
      line.push(waiting)
      admit()
      return promise
    },
    leave: (owner, size) => {
      take(owner, -size)
      admit()
    },
  }
}

/** Does work in a room whose patience has no end. */
export async function inRoom<T>(room: Room, owner: string, size: number, work: () => Promise<T>): Promise<T> {
  await room.enter(owner, size)
  try {
    return await work()
  } finally {
    room.leave(owner, size)
  }
}
