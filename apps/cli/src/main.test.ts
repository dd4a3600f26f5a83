/** How the command line answers those who do not know it yet. */
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

const program = fileURLToPath(new URL('./main.ts', import.meta.url))

test.each(['help', '--help', '-h'])('%s lists the commands', (argument) => {
  const { status, stdout } = spawnSync(process.execPath, [program, argument], { env: {}, encoding: 'utf8' })
  expect(stdout).toMatch(/^ {2}migrate {2,}\S/m)
  expect(status).toBe(0)
})
