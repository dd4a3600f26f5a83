/** How the command line answers those who do not know it yet. */
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

const program = fileURLToPath(new URL('./main.ts', import.meta.url))

test.each(['help', '--help', '-h'])('%s lists the commands', (argument) => {
  const { status, stdout } = spawnSync(process.execPath, [program, argument], { env: {}, encoding: 'utf8' })
  expect(stdout).toMatch(/^ {2}migrate {2,}\S/m)
  expect(status).toBe(0)
})

test('--version tells which one it is', () => {
  const { stdout } = spawnSync(process.execPath, [program, '--version'], { env: {}, encoding: 'utf8' })
  const whole = readFileSync(new URL('../../../package.json', import.meta.url), 'utf8')
  expect(stdout).toBe(`${(JSON.parse(whole) as { version: string }).version}\n`)
})

test('it ends quietly when whoever reads its answer has gone', async () => {
  const child = spawn(process.execPath, [program, 'help'], { env: {}, stdio: ['ignore', 'pipe', 'pipe'] })
  child.stdout.destroy()
  const complaint = text(child.stderr)
  const [code] = await once(child, 'exit')
  expect({ code, complaint: await complaint }).toEqual({ code: 0, complaint: '' })
})
