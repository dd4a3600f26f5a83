/**
 * Tables as text (RFC 4180): written so that spreadsheets take no cell for a formula, and read piece by piece, so that a long file
 * needs no more memory than a short one.
 */

/** What a spreadsheet may take for the beginning of a formula, and the mark by which we tell that it is none. */
const formulaStart = /^['=+\-@\t\r]/
const guarded = /^'(?=['=+\-@\t\r])/
const needsQuotes = /[",;\t\r\n]|^ | $/

/** One line with its CRLF (§2.1); null is an empty cell. */
export function writeCsvLine(cells: readonly (string | null)[]): string {
  return `${cells.map((cell) => writeCell(cell ?? '')).join(',')}\r\n`
}

function writeCell(text: string): string {
  const safe = formulaStart.test(text) ? `'${text}` : text
  return needsQuotes.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe
}

/** Takes off the mark of `writeCsvLine`. */
export function unguardCell(text: string): string {
  return text.replace(guarded, '')
}

/** A line of the table, or what is wrong with it; `line` is that of the file on which it begins, from 1. */
export type CsvRow = { line: number; cells: string[] } | { line: number; fault: string }

/** Longer ones are no lines of a list: most likely a quote was opened and never closed. */
const maxRowLength = 16_384
/** By what cells are parted: the first of these that the first line has. Spreadsheets of half of the world write semicolons. */
const separators = [',', ';', '\t']

/**
 * Reads a table piece by piece. Lines end with CRLF, LF or CR; empty ones are passed over.
 *
 *     const reader = new CsvReader()
 *     for (const piece of pieces) for (const row of reader.read(piece)) …
 *     for (const row of reader.end()) …
 */
export class CsvReader {
  #cells: string[] = []
  #cell = ''
  /** `quoted`: between quotes; `closed`: behind the second one; `lost`: what follows on this line is not read. */
  #state: 'start' | 'plain' | 'quoted' | 'closed' | 'lost' = 'start'
  #line = 1
  #rowLine = 1
  #rowLength = 0
  #wasReturn = false
  #isOver = false
  /** Null until the first line is there. */
  #separator: string | null = null
  #held = ''

  #takeQuoted(char: string): void {
    if (char === '"') this.#state = 'closed'
    else this.#cell += char
  }

  *read(text: string): Generator<CsvRow> {
    const piece = this.#held + text
    this.#held = ''
    if (this.#separator === null) {
      const end = piece.search(/[\r\n]/)
      if (end < 0 && piece.length <= maxRowLength) {
        this.#held = piece
        return
      }
      const first = end < 0 ? piece : piece.slice(0, end)
      this.#separator = separators.find((separator) => first.includes(separator)) ?? ','
    }
    for (const char of piece) {
      if (this.#isOver) return
      yield* this.#take(char)
    }
  }

  /** The last line, when no line end follows it. */
  *end(): Generator<CsvRow> {
    yield* this.read('\n')
    if (this.#state === 'quoted' && !this.#isOver) yield this.#unclosed()
  }

  *#take(char: string): Generator<CsvRow> {
    const isSecond = char === '\n' && this.#wasReturn
    this.#wasReturn = char === '\r'
    if (isSecond) {
      if (this.#state === 'quoted') this.#cell += char
      return
    }
    const isLineEnd = char === '\r' || char === '\n'
    if (isLineEnd) this.#line += 1
    this.#rowLength += char.length
    if (this.#rowLength > maxRowLength && this.#state !== 'lost') yield this.#tooLong()
    if (this.#isOver) return
    if (this.#state === 'quoted') this.#takeQuoted(char)
    else if (isLineEnd) yield* this.#endRow()
    else if (this.#state !== 'lost') yield* this.#takePlain(char)
  }

  *#takePlain(char: string): Generator<CsvRow> {
    if (char === this.#separator) {
      this.#endCell()
    } else if (char === '"' && this.#state === 'start') {
      this.#state = 'quoted'
    } else if (char === '"' && this.#state === 'closed') {
      this.#cell += char
      this.#state = 'quoted'
    } else if (this.#state === 'closed') {
      if (char === ' ') return
      this.#state = 'lost'
      yield {
        line: this.#rowLine,
        fault: 'Text follows a closing quote. Write a quote inside of quotes twice.',
      }
    } else {
      this.#cell += char
      this.#state = 'plain'
    }
  }

  #endCell(): void {
    this.#cells.push(this.#cell)
    this.#cell = ''
    this.#state = 'start'
  }

  *#endRow(): Generator<CsvRow> {
    const isLost = this.#state === 'lost'
    this.#endCell()
    const row = { line: this.#rowLine, cells: this.#cells }
    const isEmpty = row.cells.every((cell) => cell.trim() === '')
    this.#cells = []
    this.#rowLength = 0
    this.#rowLine = this.#line
    if (!isLost && !isEmpty) yield row
  }

  #tooLong(): CsvRow {
    if (this.#state === 'quoted') return this.#unclosed()
    this.#state = 'lost'
    return { line: this.#rowLine, fault: `Is longer than ${maxRowLength} characters.` }
  }

  #unclosed(): CsvRow {
    this.#isOver = true
    const fault = 'A quote is opened and not closed. Neither this line nor what follows was read.'
    return { line: this.#rowLine, fault }
  }
}
