/** Reads YAML as values, with the line of each; by way of data-file.ts, which loads this file when there is YAML to read. */
import { LineCounter, type Node, parseDocument } from 'yaml'
import type { DataFile } from './data-file.ts'

/** @param name of the file, for places */
export function readYaml(name: string, text: string): DataFile {
  const lines = new LineCounter()
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, uniqueKeys: true })
  const placeAt = (offset: number) => `${name}:${lines.linePos(offset).line}`
  const placeOf: DataFile['placeOf'] = (path) => {
    const node = document.getIn(path, true) as Node | undefined
    return placeAt(node?.range?.[0] ?? 0)
  }
  const faults = document.errors.map(({ pos, message }) => ({ place: placeAt(pos[0]), message }))
  if (faults.length > 0) return { content: null, faults, placeOf }
  try {
    return { content: document.toJS(), faults: [], placeOf }
  } catch (error) {
    // What only shows when its values are put together, such as an alias of nothing.
    return { content: null, faults: [{ place: placeAt(0), message: (error as Error).message }], placeOf }
  }
}
