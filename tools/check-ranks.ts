/**
 * The rank check: imports only go down.
 *
 *   rank 4  apps/*              processes
 *   rank 3  packages/flows      use cases
 *   rank 2  packages/store      packages/courier      packages/templates
 *   rank 1  packages/core       the product's rules
 *   rank 0  packages/mail       packages/client      packages/runtime (for apps only)
 *
 * A file imports another workspace only from a strictly lower rank, by its bare name (`@valija/core`), and only if
 * its package.json says so. Inside a workspace imports are relative and stay inside. Tests are exempt from the ranks,
 * but nothing at all imports from outside the repository. See docs/ARCHITECTURE.md for why.
 *
 * Not seen: a dynamic import whose specifier is computed.
 */
import { existsSync, globSync, readFileSync } from 'node:fs'
import { isBuiltin } from 'node:module'
import { join, posix } from 'node:path'
import ts from 'typescript'
import {
  allFolders,
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

/** The ranks of all workspaces. A new workspace is refused until it has one. */
const ranks: Readonly<Record<string, number>> = {
  'packages/mail': 0,
  'packages/runtime': 0,
  'packages/client': 0,
  'packages/core': 1,
  'packages/store': 2,
  'packages/courier': 2,
  'packages/templates': 2,
  'packages/flows': 3,
  'apps/api': 4,
  'apps/worker': 4,
  'apps/smtp': 4,
  'apps/cli': 4,
}

/** The one workspace that may import apps: `valija start` runs all of them in one process. */
const allInOneStarter = 'apps/cli'
/** Configuration, log and metrics are wiring: only a process may reach for them, all else is handed in. */
const appsOnly = 'packages/runtime'
const publicFace = './src/index.ts'

interface Workspace {
  folder: string
  name: string
  exports: unknown
  /** What the code may import at run time. */
  dependencies: Set<string>
  /** What it may import besides with `import type`. */
  devDependencies: Set<string>
}

interface Import {
  specifier: string
  line: number
  isTypeOnly: boolean
}

/** Checks every import below `root` and the manifests of its workspaces. */
export function checkRanks(root: string): Finding[] {
  const workspaces = readWorkspaces(root)
  const findings = workspaces.flatMap(checkManifest)
  for (const path of sourceFiles(root, allFolders)) {
    const workspace = workspaces.find(({ folder }) => path.startsWith(`${folder}/`))
    for (const found of importsOf(parse(root, path))) {
      const message = judge(path, found, workspace, workspaces)
      if (message !== undefined) findings.push({ path, line: found.line, message })
    }
  }
  return findings
}

function readWorkspaces(root: string): Workspace[] {
  const manifests = globSync(
    productFolders.map((folder) => `${folder}/*/package.json`),
    { cwd: root },
  ).sort()
  return manifests.map((path) => {
    const manifest = JSON.parse(readFileSync(join(root, path), 'utf8'))
    const names = (key: string) => Object.keys(manifest[key] ?? {})
    return {
      folder: posix.dirname(path.replaceAll('\\', '/')),
      name: manifest.name,
      exports: manifest.exports,
      dependencies: new Set(['dependencies', 'optionalDependencies', 'peerDependencies'].flatMap(names)),
      devDependencies: new Set(names('devDependencies')),
    }
  })
}

function checkManifest(workspace: Workspace): Finding[] {
  const path = `${workspace.folder}/package.json`
  const findings: Finding[] = []
  if (ranks[workspace.folder] === undefined) {
    findings.push({ path, line: 1, message: 'has no rank: give it one in tools/check-ranks.ts' })
  }
  if (workspace.exports !== publicFace) {
    findings.push({ path, line: 1, message: `"exports" must be "${publicFace}" and nothing else` })
  }
  return findings
}

/** Every import and re-export of a file whose specifier is a literal, types included. */
export function importsOf(source: ts.SourceFile): Import[] {
  const imports: Import[] = []
  forEachNode(source, (node) => {
    const found = specifierOf(node)
    if (found === undefined || !ts.isStringLiteralLike(found.literal)) return
    imports.push({ specifier: found.literal.text, line: lineOf(source, node), isTypeOnly: found.isTypeOnly })
  })
  return imports
}

function specifierOf(node: ts.Node): { literal: ts.Node; isTypeOnly: boolean } | undefined {
  if (ts.isImportDeclaration(node)) {
    return {
      literal: node.moduleSpecifier,
      isTypeOnly: node.importClause?.phaseModifier === ts.SyntaxKind.TypeKeyword,
    }
  }
  if (ts.isExportDeclaration(node) && node.moduleSpecifier) {
    return { literal: node.moduleSpecifier, isTypeOnly: node.isTypeOnly }
  }
  if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) {
    return { literal: node.argument.literal, isTypeOnly: true }
  }
  if (!ts.isCallExpression(node) || node.arguments[0] === undefined) return undefined
  const isImport = node.expression.kind === ts.SyntaxKind.ImportKeyword
  const isRequire = ts.isIdentifier(node.expression) && node.expression.text === 'require'
  return isImport || isRequire ? { literal: node.arguments[0], isTypeOnly: false } : undefined
}

/** Says what is wrong with one import, or undefined. `workspace` is undefined for tests/, tools/ and bench/. */
function judge(
  path: string,
  found: Import,
  workspace: Workspace | undefined,
  workspaces: readonly Workspace[],
): string | undefined {
  const { specifier } = found
  if (/^(\/|file:|[a-z]:[/\\]|https?:)/i.test(specifier))
    return `imports ${specifier} from outside of the repository`
  if (specifier.startsWith('.')) return judgeRelative(path, specifier, workspace)
  if (workspace === undefined || isTestFile(path) || isBuiltin(specifier)) return undefined
  const name = packageName(specifier)
  const target = workspaces.find((candidate) => candidate.name === name)
  if (target !== undefined) {
    const message = judgeWorkspace(specifier, workspace, target)
    if (message !== undefined) return message
  }
  const isDeclared =
    workspace.dependencies.has(name) || (found.isTypeOnly && workspace.devDependencies.has(name))
  return isDeclared ? undefined : `imports ${name}, which ${workspace.folder}/package.json does not declare`
}

function judgeRelative(
  path: string,
  specifier: string,
  workspace: Workspace | undefined,
): string | undefined {
  const target = posix.join(posix.dirname(path), specifier)
  if (target === '..' || target.startsWith('../'))
    return `imports ${specifier} from outside of the repository`
  if (workspace === undefined || isTestFile(path)) return undefined
  if (!target.startsWith(`${workspace.folder}/`))
    return `imports ${specifier}, which leaves ${workspace.folder}`
  return isTestFile(target) ? `imports ${specifier}, which exists for tests only` : undefined
}

function judgeWorkspace(specifier: string, from: Workspace, target: Workspace): string | undefined {
  if (specifier !== target.name)
    return `imports ${specifier}: only the public face ${target.name} may be imported`
  if (from === target) return `imports its own package by name: use a relative path`
  const isFromApp = from.folder.startsWith('apps/')
  if (target.folder.startsWith('apps/')) {
    return from.folder === allInOneStarter
      ? undefined
      : `imports the app ${target.name}: no one imports an app`
  }
  if (target.folder === appsOnly && !isFromApp) return `imports ${target.name}, which is for apps only`
  const [rank, targetRank] = [ranks[from.folder], ranks[target.folder]]
  if (rank === undefined || targetRank === undefined) return undefined // said of the manifest already
  return targetRank < rank
    ? undefined
    : `imports ${target.name} (rank ${targetRank}) from rank ${rank}: imports only go to a lower rank`
}

/** `@scope/name/deep` → `@scope/name`, `name/deep` → `name`. */
function packageName(specifier: string): string {
  return specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/')
}

if (import.meta.main) {
  const missing = productFolders.filter((folder) => !existsSync(join(repositoryRoot, folder)))
  if (missing.length > 0) throw new Error(`not the repository's root: no ${missing.join(', ')}`)
  report('ranks', checkRanks(repositoryRoot))
}
