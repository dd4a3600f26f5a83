/**
 * The size check, so that no giant grows in the dark: files of at most 600 lines (over 400 is noted), functions of at
 * most 70, endpoint files of at most 150 (a folder's index.ts and schemas.ts hold no endpoint). Generated files are exempt. So
 * is a `describe` callback, which is a list of functions and not one, and in test files a function `describe…` that holds such
 * a list for several implementations; the tests inside are judged one by one.
 */
import ts from 'typescript'
import {
  allFolders,
  type Finding,
  forEachNode,
  isTestFile,
  lineOf,
  parse,
  repositoryRoot,
  sourceFiles,
} from './source-tree.ts'
import { report } from './step.ts'

const fileLines = { hard: 600, noted: 400 }
const functionLines = 70
const endpointLines = 150
const endpointFolder = 'apps/api/src/routes/'
const noEndpoint = /\/(?:index|schemas)\.ts$/

/** Measures all files below `root`. `notes` are files on their way to being too long. */
export function checkSizes(root: string): { findings: Finding[]; notes: Finding[] } {
  const findings: Finding[] = []
  const notes: Finding[] = []
  for (const path of sourceFiles(root, allFolders)) {
    const source = parse(root, path)
    const lines = countLines(source.text)
    const isEndpoint = path.startsWith(endpointFolder) && !isTestFile(path) && !noEndpoint.test(path)
    const limit = isEndpoint ? endpointLines : fileLines.hard
    if (lines > limit) findings.push({ path, line: 1, message: `has ${lines} lines; at most ${limit}` })
    else if (lines > fileLines.noted)
      notes.push({ path, line: 1, message: `has ${lines} lines; aim for ${fileLines.noted}` })
    findings.push(...longFunctions(path, source))
  }
  return { findings, notes }
}

function longFunctions(path: string, source: ts.SourceFile): Finding[] {
  const findings: Finding[] = []
  forEachNode(source, (node) => {
    if (!ts.isFunctionLike(node) || !('body' in node) || node.body === undefined) return
    if (isDescribeCallback(node) || (isTestFile(path) && isSharedDescription(node))) return
    const lines = source.getLineAndCharacterOfPosition(node.getEnd()).line + 2 - lineOf(source, node)
    if (lines <= functionLines) return
    const message = `${nameOf(node)} has ${lines} lines; a function has at most ${functionLines}`
    findings.push({ path, line: lineOf(source, node), message })
  })
  return findings
}

/** Whether a function is the argument of `describe(…)`, `describe.each(…)(…)`, `describe.skipIf(…)(…)`. */
function isDescribeCallback(node: ts.Node): boolean {
  if (!ts.isCallExpression(node.parent)) return false
  let callee: ts.Expression = node.parent.expression
  while (ts.isCallExpression(callee) || ts.isPropertyAccessExpression(callee)) callee = callee.expression
  return ts.isIdentifier(callee) && callee.text === 'describe'
}

/** Whether a function is one of `describeSession(…)` and the like: a conformance suite, run for each implementation. */
function isSharedDescription(node: ts.SignatureDeclaration): boolean {
  return ts.isFunctionDeclaration(node) && /^describe[A-Z]/.test(node.name?.text ?? '')
}

function nameOf(node: ts.SignatureDeclaration): string {
  if (node.name) return node.name.getText()
  const { parent } = node
  return ts.isVariableDeclaration(parent) || ts.isPropertyAssignment(parent)
    ? parent.name.getText()
    : 'this function'
}

function countLines(text: string): number {
  return text.split('\n').length - (text.endsWith('\n') ? 1 : 0)
}

if (import.meta.main) {
  const { findings, notes } = checkSizes(repositoryRoot)
  report('sizes', findings, notes)
}
