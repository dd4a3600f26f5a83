/**
 * No descriptor, or no memory, for one more socket: a want of this process or of its machine. Whoever was to be reached has not been
 * asked. So it counts against nobody, uses up no step of a schedule, and is tried again soon.
 */
import { closeSync, openSync } from 'node:fs'
import { devNull } from 'node:os'

/** Until the next try, in milliseconds: others end their conversations meanwhile, or somebody raises the limit. */
export const noSocketPauseMs = 2_000

const wants: ReadonlySet<string | undefined> = new Set([
  'EMFILE',
  'ENFILE',
  'ENOBUFS',
  'ENOMEM',
  'EAI_MEMORY',
])

/** Whether an error of a connection, or of what has to go before it, says so. May open a file to find out, after a failed look-up and the like only. */
export function isWantOfSockets({ code, syscall }: NodeJS.ErrnoException): boolean {
  if (wants.has(code)) return true
  // Without a descriptor the system's lookup reads neither its hosts nor its resolvers, and says that there is no such name; and a
  // module that is loaded on demand seems to be broken.
  const mayMean = syscall === 'getaddrinfo' || code === 'ERR_INVALID_PACKAGE_CONFIG'
  return mayMean && !canOpen()
}

function canOpen(): boolean {
  try {
    closeSync(openSync(devNull, 'r'))
    return true
  } catch (error) {
    return !wants.has((error as NodeJS.ErrnoException).code)
  }
}

/** @param detail what could not be done, and why */
export function noSocketText(detail: string, here: 'worker' | 'process' = 'worker'): string {
  return `this ${here} could open no connection (${detail}): its limit of open files (ulimit -n, LimitNOFILE) may be too low`
}
