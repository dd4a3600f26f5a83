/**
 * Runs the Prisma CLI from the repository's root with the schema engine that npm ships (prisma-schema-engine.mjs), so
 * that no binary is fetched at install or run time. `node tools/prisma.mjs <any prisma command>`; also the
 * postinstall script, which is why it is plain JavaScript: npm may run it on a Node that does not strip types.
 */
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const pathOf = (relative) => fileURLToPath(new URL(relative, import.meta.url))
const cli = pathOf('../node_modules/prisma/build/index.js')

if (!existsSync(cli)) {
  process.stderr.write('prisma is not installed: run `npm ci` without --omit\n')
  process.exit(1)
}

const defaults = {
  PRISMA_SCHEMA_ENGINE_BINARY: pathOf('./prisma-schema-engine.mjs'),
  PRISMA_HIDE_UPDATE_MESSAGE: '1',
  CHECKPOINT_DISABLE: '1', // no telemetry
}
const { status, error } = spawnSync(process.execPath, [cli, ...process.argv.slice(2)], {
  stdio: 'inherit',
  cwd: pathOf('..'),
  env: { ...defaults, ...process.env },
})
if (error) process.stderr.write(`${error.message}\n`)
process.exit(status ?? 1)
