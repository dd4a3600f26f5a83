/**
 * `npx node tools/pack-previous-version.ts <commit>`: puts the sources of the previous version beside the tests, as
 * `tests/previous-version/<commit>.tar.br`, in place of the one that was there.
 *
 * The upgrade test (tests/t-67) runs that version's processes together with ours. They come as an archive, because a checkout may have no history
 * to take them from. In it is what its processes need (apps, packages and prisma without their tests), and no dependency: those it takes
 * from our node_modules, and what prisma generates is generated there. Run it once per release, with the commit that was released.
 */
import { execFileSync } from 'node:child_process'
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { brotliCompressSync, constants } from 'node:zlib'
import { repositoryRoot } from './source-tree.ts'

const contents = [
  'apps',
  'packages',
  'prisma',
  'prisma.config.ts',
  'package.json',
  'tools/prisma.mjs',
  'tools/prisma-schema-engine.mjs',
  ...['*.test.ts', '*.test-support.ts', '*.conformance.ts', '*.samples.tsv'].map(
    (tests) => `:(exclude)${tests}`,
  ),
]

function git(...args: string[]): Buffer {
  return execFileSync('git', args, { cwd: repositoryRoot, maxBuffer: 1 << 28 })
}

const [asked, ...more] = process.argv.slice(2)
if (asked === undefined || more.length > 0) {
  process.stderr.write('usage: npx node tools/pack-previous-version.ts <commit>\n')
  process.exit(1)
}
const commit = git('rev-parse', '--verify', `${asked}^{commit}`).toString().trim()
// The same commit gives the same bytes: git dates the files by the commit. Its id is in the archive's head too (git get-tar-commit-id).
const tar = git('archive', '--format=tar', commit, ...contents)
const packed = brotliCompressSync(tar, {
  params: { [constants.BROTLI_PARAM_LGWIN]: 24, [constants.BROTLI_PARAM_SIZE_HINT]: tar.length },
})
const folder = path.join(repositoryRoot, 'tests/previous-version')
mkdirSync(folder, { recursive: true })
for (const old of readdirSync(folder).filter((name) => name.endsWith('.tar.br')))
  rmSync(path.join(folder, old))
const name = `${commit.slice(0, 7)}.tar.br`
writeFileSync(path.join(folder, name), packed)
process.stdout.write(
  `tests/previous-version/${name}: ${Math.round(packed.length / 1024)} KiB, commit ${commit}\n`,
)
