/**
 * The advisory floors: the lock holds no version of a package that is below the one in which its known advisories
 * were fixed. The table is tools/advisory-floors.json; it names packages that are not used yet too, so that nobody
 * adds one in a version that was broken. An entry is raised, never lowered, when an advisory appears.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Finding, repositoryRoot } from './source-tree.ts'
import { report } from './step.ts'

/** Package name → the lowest version that may be installed, and the advisories that say so. */
export type Floors = Readonly<Record<string, { minimum: string; advisories: readonly string[] }>>
/** The part of package-lock.json (version 3) that is read: install path → version; links have none. */
export type LockedPackages = Readonly<Record<string, { version?: string; name?: string }>>

/** Compares every copy of every package in the lock, nested ones too, with its floor. */
export function checkFloors(floors: Floors, packages: LockedPackages): Finding[] {
  const findings: Finding[] = []
  for (const [installPath, { version, name: aliased }] of Object.entries(packages)) {
    const name = aliased ?? installPath.split('node_modules/').at(-1) ?? installPath
    const floor = Object.hasOwn(floors, name) ? floors[name] : undefined
    if (floor === undefined || version === undefined || !isBelow(version, floor.minimum)) continue
    const message = `${installPath} is ${version}, below ${floor.minimum} (${floor.advisories.join(', ')})`
    findings.push({ path: 'package-lock.json', line: 1, message })
  }
  return findings
}

/** Whether one version precedes another; a pre-release precedes its release (semver.org, section 11). */
export function isBelow(version: string, minimum: string): boolean {
  const [left, right] = [parseVersion(version), parseVersion(minimum)]
  for (const index of [0, 1, 2] as const) {
    if (left.numbers[index] !== right.numbers[index]) return left.numbers[index] < right.numbers[index]
  }
  return left.isPrerelease && !right.isPrerelease
}

function parseVersion(version: string): { numbers: [number, number, number]; isPrerelease: boolean } {
  const match = /^(\d+)\.(\d+)\.(\d+)(-)?/.exec(version)
  if (match === null) throw new Error(`not a version: ${version}`)
  return { numbers: [Number(match[1]), Number(match[2]), Number(match[3])], isPrerelease: match[4] === '-' }
}

if (import.meta.main) {
  const readJson = (path: string) => JSON.parse(readFileSync(join(repositoryRoot, path), 'utf8'))
  report(
    'floors',
    checkFloors(readJson('tools/advisory-floors.json'), readJson('package-lock.json').packages),
  )
}
