/** Shows the rank check red on a made-up tree for each rule, and green where an import is allowed. */
import { describe, expect, it } from 'vitest'
import { checkRanks } from './check-ranks.ts'
import { temporaryTree } from './temporary-tree.test-support.ts'

const manifest = (name: string, dependencies: readonly string[], more: object = {}) =>
  JSON.stringify({
    name: `@valija/${name}`,
    exports: './src/index.ts',
    dependencies: Object.fromEntries(dependencies.map((dependency) => [dependency, '1.0.0'])),
    ...more,
  })

/** A sound tree in which every workspace declares every other, so that only the rule under test can object. */
const everyWorkspace = ['mail', 'runtime', 'core', 'store', 'courier', 'flows', 'api', 'worker', 'cli']
const everyName = everyWorkspace.map((name) => `@valija/${name}`)
const soundTree = Object.fromEntries(
  everyWorkspace.map((name) => {
    const folder = ['api', 'worker', 'cli'].includes(name) ? 'apps' : 'packages'
    return [`${folder}/${name}/package.json`, manifest(name, [...everyName, 'pg'])]
  }),
)

/** The messages about one file with this content, put into the sound tree. */
function messagesFor(path: string, content: string, files: Record<string, string> = {}): string[] {
  return checkRanks(temporaryTree({ ...soundTree, ...files, [path]: content })).map(({ message }) => message)
}

describe('what is allowed', () => {
  it.each([
    ['a lower rank', 'packages/flows/src/a.ts', `import { x } from '@valija/store'`],
    ['two ranks down', 'packages/flows/src/a.ts', `export * from '@valija/mail'`],
    ['runtime from an app', 'apps/api/src/a.ts', `import { x } from '@valija/runtime'`],
    ['apps from the all-in-one starter', 'apps/cli/src/a.ts', `import { x } from '@valija/api'`],
    ['a relative path inside the package', 'packages/core/src/deep/a.ts', `import { x } from '../b.ts'`],
    ['a declared package', 'packages/store/src/a.ts', `import pg from 'pg'\nimport t from 'pg/lib/types'`],
    ['what Node brings', 'packages/store/src/a.ts', `import { join } from 'node:path'`],
    [
      'anything declared or not in a test',
      'packages/mail/src/a.test.ts',
      `import { x } from '@valija/flows'`,
    ],
    [
      'an import that is only written of',
      'packages/mail/src/a.ts',
      `// import '@valija/flows'\nexport const s = "from '@valija/api'"`,
    ],
  ])('%s', (_name, path, content) => {
    expect(messagesFor(path, content)).toEqual([])
  })
})

describe('what is refused', () => {
  it.each([
    ['the same rank', 'packages/store/src/a.ts', `import '@valija/courier'`, /only go to a lower rank/],
    ['a higher rank', 'packages/core/src/a.ts', `import { x } from '@valija/flows'`, /rank 3.*from rank 1/],
    [
      'a higher rank, for a type',
      'packages/core/src/a.ts',
      `import type { X } from '@valija/flows'`,
      /lower rank/,
    ],
    [
      'a higher rank, inline type',
      'packages/core/src/a.ts',
      `let x: import('@valija/flows').X`,
      /lower rank/,
    ],
    ['a higher rank, re-exported', 'packages/core/src/a.ts', `export * from '@valija/flows'`, /lower rank/],
    ['a higher rank, dynamically', 'packages/core/src/a.ts', `await import('@valija/flows')`, /lower rank/],
    ['a higher rank, by template', 'packages/core/src/a.ts', 'await import(`@valija/flows`)', /lower rank/],
    ['a higher rank, by require', 'packages/core/src/a.ts', `require('@valija/flows')`, /lower rank/],
    ['a deep path', 'packages/flows/src/a.ts', `import '@valija/store/src/pool.ts'`, /only the public face/],
    ['its own package by name', 'packages/core/src/a.ts', `import '@valija/core'`, /use a relative path/],
    ['an app from an app', 'apps/worker/src/a.ts', `import '@valija/api'`, /no one imports an app/],
    ['an app from a package', 'packages/flows/src/a.ts', `import '@valija/api'`, /no one imports an app/],
    ['runtime from a package', 'packages/flows/src/a.ts', `import '@valija/runtime'`, /for apps only/],
    [
      'an undeclared package',
      'packages/core/src/a.ts',
      `import 'left-pad'`,
      /imports left-pad.*does not declare/,
    ],
    ['an undeclared scoped package', 'packages/core/src/a.ts', `import '@a/b/c'`, /imports @a\/b, which/],
    ['an unknown workspace', 'packages/flows/src/a.ts', `import '@valija/nothing'`, /does not declare/],
    [
      'a path out of the package',
      'packages/core/src/a.ts',
      `import '../../mail/src/b.ts'`,
      /leaves packages\/core/,
    ],
    [
      'a path out of the repository',
      'packages/core/src/a.ts',
      `import '../../../../x.ts'`,
      /outside of the repository/,
    ],
    ['an absolute path', 'packages/core/src/a.ts', `import '/etc/x.ts'`, /outside of the repository/],
    ['a URL', 'packages/core/src/a.ts', `await import('file:///etc/x.ts')`, /outside of the repository/],
    [
      'an outside path in a test',
      'packages/core/src/a.test.ts',
      `import '../../../../x.ts'`,
      /outside of the repository/,
    ],
    ['an outside path in tests/', 'tests/t-01.test.ts', `import '../../x.ts'`, /outside of the repository/],
    ['a test from product code', 'packages/core/src/a.ts', `import './b.test.ts'`, /for tests only/],
    ['a fixture from product code', 'packages/core/src/a.ts', `import './fixtures/b.ts'`, /for tests only/],
  ])('%s', (_name, path, content, expected) => {
    expect(messagesFor(path, content)).toEqual([expect.stringMatching(expected)])
  })

  it('a lower rank that package.json does not declare', () => {
    const files = { 'packages/flows/package.json': manifest('flows', []) }
    const messages = messagesFor('packages/flows/src/a.ts', `import '@valija/core'`, files)
    expect(messages).toEqual(['imports @valija/core, which packages/flows/package.json does not declare'])
  })

  it('a development dependency, except for its types', () => {
    const files = {
      'packages/core/package.json': manifest('core', [], { devDependencies: { tool: '1.0.0' } }),
    }
    expect(messagesFor('packages/core/src/a.ts', `import type { X } from 'tool'`, files)).toEqual([])
    expect(messagesFor('packages/core/src/a.ts', `import { x } from 'tool'`, files)).toHaveLength(1)
  })

  it('a workspace without a rank, and one whose exports show more than its public face', () => {
    const files = { 'packages/misc/package.json': manifest('misc', [], { exports: { './*': './src/*.ts' } }) }
    const messages = messagesFor('packages/core/src/a.ts', '', files)
    expect(messages).toEqual([
      expect.stringMatching(/has no rank/),
      expect.stringMatching(/"exports" must be/),
    ])
  })
})

it('says the file and the line', () => {
  const root = temporaryTree({
    ...soundTree,
    'packages/core/src/a.ts': `\n/** why */\nimport '@valija/api'\n`,
  })
  expect(checkRanks(root)).toEqual([expect.objectContaining({ path: 'packages/core/src/a.ts', line: 3 })])
})

it('does not look into generated code or node_modules', () => {
  const files = {
    'packages/core/node_modules/x/a.ts': `import '@valija/api'`,
    'packages/core/src/generated/a.ts': `import '/x'`,
  }
  expect(checkRanks(temporaryTree({ ...soundTree, ...files }))).toEqual([])
})
