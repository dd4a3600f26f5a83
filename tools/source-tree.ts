/**
 * The repository's own TypeScript, as the checks of tools/check.ts see it: which files there are, which of them
 * are tests, and what a finding looks like. Every check takes the root folder as an argument, so that its test
 * can hand it a made-up tree.
 */
import { globSync, readFileSync } from 'node:fs'
import { join, sep } from 'node:path'
import { fileURLToPath } from 'node:url'
import ts from 'typescript'

/** The repository's root, without a final slash. */
export const repositoryRoot = fileURLToPath(new URL('..', import.meta.url)).replace(/[/\\]$/, '')

/** One broken rule: where (path from the root, line from 1) and what to do about it. */
export interface Finding {
  path: string
  line: number
  message: string
}

/** Folders that hold product code; the others (tests, tools, bench, torture) hold what is run beside it. */
export const productFolders = ['apps', 'packages']
export const allFolders = [...productFolders, 'tests', 'tools', 'bench', 'torture']

/** Never ours to judge: what npm installed and what a generator wrote. */
const skippedFolders = new Set(['node_modules', 'generated', 'dist', 'coverage'])

/** Lists the TypeScript files (and plain .mjs) below the given folders, as sorted paths from the root with `/`. */
export function sourceFiles(root: string, folders: readonly string[]): string[] {
  const patterns = folders.map((folder) => `${folder}/**/*.{ts,mjs}`)
  return globSync(patterns, {
    cwd: root,
    exclude: (name) => skippedFolders.has(name.split(/[/\\]/).at(-1) ?? ''),
  })
    .map((path) => path.split(sep).join('/'))
    .sort()
}

/**
 * Whether a file exists for tests only: by its ending (`.test.ts`, `.conformance.ts`, `.fixture.ts`) or by a folder
 * on its way. Such a file may import what it likes, and product code may not import it.
 */
export function isTestFile(path: string): boolean {
  if (/\.(test|conformance|fixture|test-support)\.ts$/.test(path)) return true
  const folders = path.split('/').slice(0, -1)
  return folders.some((folder) => ['tests', 'testing', 'test-support', 'fixtures'].includes(folder))
}

/** Parses one file with TypeScript's own parser; positions and parents are set, types are not. */
export function parse(root: string, path: string): ts.SourceFile {
  return ts.createSourceFile(path, readFileSync(join(root, path), 'utf8'), ts.ScriptTarget.Latest, true)
}

/** The line, counted from 1, on which a node begins (after its comments). */
export function lineOf(source: ts.SourceFile, node: ts.Node): number {
  return source.getLineAndCharacterOfPosition(node.getStart(source)).line + 1
}

/** Calls `visit` for every node of a file, parents before children. */
export function forEachNode(source: ts.SourceFile, visit: (node: ts.Node) => void): void {
  const walk = (node: ts.Node): void => {
    visit(node)
    ts.forEachChild(node, walk)
  }
  walk(source)
}
