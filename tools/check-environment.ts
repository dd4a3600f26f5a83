/**
 * The environment check: product code reads `process.env` in one file, where every variable has a name, a type and a
 * default. A variable that is read anywhere else is not in the documentation, not checked at the start, and not found
 * by whoever looks for it. Tests, tools and benchmarks are exempt.
 */
import ts from 'typescript'
import {
  type Finding,
  forEachNode,
  isTestFile,
  lineOf,
  parse,
  productFolders,
  repositoryRoot,
  sourceFiles,
} from './source-tree.ts'
import { report } from './step.ts'

const configurationFile = 'packages/runtime/src/config.ts'

/** Finds every reach for the environment in product code below `root`. */
export function checkEnvironment(root: string): Finding[] {
  const findings: Finding[] = []
  for (const path of sourceFiles(root, productFolders)) {
    if (path === configurationFile || isTestFile(path)) continue
    const source = parse(root, path)
    forEachNode(source, (node) => {
      if (!readsEnvironment(node)) return
      const message = `reads the environment: only ${configurationFile} does; take the value as an argument`
      findings.push({ path, line: lineOf(source, node), message })
    })
  }
  return findings
}

/** The four ways to the environment: `process.env`, `process['env']`, `{ env } = process`, `import { env }`. */
function readsEnvironment(node: ts.Node): boolean {
  if (ts.isPropertyAccessExpression(node)) return node.name.text === 'env' && isProcess(node.expression)
  if (ts.isElementAccessExpression(node)) {
    return (
      ts.isStringLiteralLike(node.argumentExpression) &&
      node.argumentExpression.text === 'env' &&
      isProcess(node.expression)
    )
  }
  if (ts.isVariableDeclaration(node) && ts.isObjectBindingPattern(node.name) && node.initializer) {
    return (
      isProcess(node.initializer) &&
      node.name.elements.some((element) => takesEnv(element.propertyName ?? element.name))
    )
  }
  if (ts.isImportSpecifier(node)) {
    const from = node.parent.parent.parent.moduleSpecifier
    return (
      ts.isStringLiteral(from) &&
      /^(node:)?process$/.test(from.text) &&
      takesEnv(node.propertyName ?? node.name)
    )
  }
  return false
}

function takesEnv(name: ts.Node): boolean {
  return ts.isIdentifier(name) && name.text === 'env'
}

/** `process`, `globalThis.process`; import.meta.env and the like are not meant. */
function isProcess(node: ts.Expression): boolean {
  if (ts.isIdentifier(node)) return node.text === 'process'
  return ts.isPropertyAccessExpression(node) && node.name.text === 'process'
}

if (import.meta.main) report('environment', checkEnvironment(repositoryRoot))
