/**
 * Builds packages/client as it is published: ES modules with their types, a package.json of its own, README and licence.
 *
 *     npm run pack:client -- <folder>     then: npm install <folder> in a project, or npm publish <folder>
 *
 * ES modules only: Node from 20.19 and 22.12 takes them by `require` as well. The compiler sees the platform's types only (fetch, WebCrypto), none of
 * Node's, so that what is built runs in other places too.
 */
import { spawnSync } from 'node:child_process'
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { repositoryRoot } from './source-tree.ts'

const source = join(repositoryRoot, 'packages', 'client')

/** @param folder made if it is not there */
export function packClient(folder: string): void {
  mkdirSync(folder, { recursive: true })
  const compiler = join(repositoryRoot, 'node_modules', '.bin', 'tsc')
  const args = ['-p', join(source, 'tsconfig.build.json'), '--outDir', join(folder, 'dist')]
  const { status, stdout, stderr, error } = spawnSync(compiler, args, { encoding: 'utf8' })
  if (status !== 0) throw new Error(`tsc ${args.join(' ')}\n${error ?? ''}${stdout}${stderr}`)
  writeFileSync(join(folder, 'package.json'), `${JSON.stringify(manifest(), null, 2)}\n`)
  copyFileSync(join(source, 'README.md'), join(folder, 'README.md'))
  copyFileSync(join(repositoryRoot, 'LICENSE'), join(folder, 'LICENSE'))
}

function manifest() {
  const { name, version, description, license, engines } = JSON.parse(
    readFileSync(join(source, 'package.json'), 'utf8'),
  ) as Record<string, unknown>
  return {
    ...{ name, version, description, license, engines },
    keywords: ['email', 'transactional', 'smtp', 'valija'],
    type: 'module',
    sideEffects: false,
    exports: { '.': { types: './dist/index.d.ts', default: './dist/index.js' } },
    files: ['dist'],
  }
}

if (import.meta.main) {
  const [folder] = process.argv.slice(2)
  if (folder === undefined) {
    process.stderr.write('usage: npm run pack:client -- <folder>\n')
    process.exit(2)
  }
  packClient(folder)
  const { name, version } = manifest()
  process.stdout.write(
    `${name} ${version} is in ${resolve(folder)}. In the project that uses it:\n\n    npm install ${resolve(folder)}\n`,
  )
}
