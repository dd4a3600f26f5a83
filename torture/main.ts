/**
 * `npm run torture`: starts the real processes, posts with many clients, breaks what can be broken at random moments and at enumerated
 * crash points, and compares three ledgers of its own: what got a 2xx, what the receiver took byte for byte, what the API says.
 * docs/torture.md tells how to read what it prints. Exit code 1 when a promise was broken. Linux only: it reads /proc.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { checkedOutVersion } from '../tests/support/checked-out-version.ts'
import { Mishap } from './mishaps.ts'
import { type Options, readOptions, usage } from './options.ts'
import { isRed, markdown, printable } from './report.ts'
import { forget, type Result, run } from './run.ts'

const say = (line: string) => process.stdout.write(`${line}\n`)

let isInterrupted = false
process.on('SIGINT', () => {
  if (isInterrupted) process.exit(130)
  isInterrupted = true
  say('ends after this round; once more: at once')
})

function readArguments(): Options {
  const args = process.argv.slice(2)
  if (args.includes('--help')) {
    say(usage)
    process.exit(0)
  }
  try {
    return readOptions(args)
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n\n${usage}`)
    process.exit(2)
  }
}

/** Puts the table between the marks of a page that is there, or writes it as a page. */
function writeReport(file: string, result: Result): void {
  const table = markdown(result, ranVersion)
  const [begin, end] = ['<!-- results -->', '<!-- end of results -->']
  let page = `${begin}\n${end}\n`
  try {
    page = readFileSync(file, 'utf8')
  } catch {
    // It is new.
  }
  const [before = '', rest = ''] = page.split(begin)
  writeFileSync(file, `${before}${begin}\n${table}${end}${rest.split(end)[1] ?? '\n'}`)
}

const options = readArguments()
// Now: the sources may be others by the end.
const ranVersion = checkedOutVersion()
const result = await run(options, say, () => isInterrupted).catch((error: unknown): never => {
  if (!(error instanceof Mishap)) throw error
  say(`RED, ended early: ${error.message}`)
  process.exit(1)
})
say(printable(result))
if (options.json !== null) {
  const plain = { ...result, options: { ...options, faults: [...options.faults] } }
  writeFileSync(options.json, `${JSON.stringify(plain, null, 2)}\n`)
}
if (options.report !== null) writeReport(options.report, result)
if (isRed(result)) say(`the ledgers are in ${result.folder}`)
else if (options.folder === null) forget(result)
process.exit(isRed(result) ? 1 : 0)
