/**
 * Files of rules, as values that know where they stand: those that come with Valija, and an operator's.
 *
 * What comes with Valija is written in YAML, and read from the JSON that `tools/generate-rules.ts` makes of it: JSON takes 1 ms, and
 * YAML 0.1 s at the start of every worker, a third of which is the reader itself. So that is loaded only for an operator's file.
 */
import { readFileSync } from 'node:fs'

/** From the file's root to a value: names of fields, and numbers of entries from 0. */
export type DataPath = readonly (string | number)[]

export interface DataFile {
  /** Objects, lists, texts, numbers, booleans and null; null as well where the file has faults, and where it is empty. */
  content: unknown
  /** Why it could not be read; empty when it could. */
  faults: readonly { place: string; message: string }[]
  /** Where a value stands, for whoever finds fault with it: `shaping.yaml:12`. */
  placeOf(path: DataPath): string
}

/** `rules/<name>.yaml`, and what is made of it. */
export const shippedFiles = [
  'replies',
  'shaping',
  'bounces',
  'bounces.late',
  'bounces.words',
  'bounces.bare',
] as const

export type ShippedFile = (typeof shippedFiles)[number]

/** A file that comes with Valija. */
export function readShippedFile(name: ShippedFile): DataFile {
  const { content } = JSON.parse(readFileSync(new URL(`rules/${name}.json`, import.meta.url), 'utf8'))
  return { content, faults: [], placeOf: () => `rules/${name}.yaml` }
}

/**
 * Reads YAML.
 *
 * @param name of the file, for places
 */
export async function readYamlFile(name: string, text: string): Promise<DataFile> {
  const { readYaml } = await import('./read-yaml.ts')
  return readYaml(name, text)
}
