/** packages/client as it is published. */
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { repositoryRoot } from './source-tree.ts'

let folder: string
let built: string
let told: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'valija-client-'))
  built = join(folder, 'built')
  told = packClient(built).stdout
  // As npm would publish and install it.
  const packed = execFileSync('npm', ['pack', '--json', '--pack-destination', folder], {
    cwd: built,
    encoding: 'utf8',
  })
  const [{ filename }] = JSON.parse(packed) as [{ filename: string }]
  const target = join(folder, 'node_modules', '@valija', 'client')
  mkdirSync(target, { recursive: true })
  execFileSync('tar', ['-xzf', join(folder, filename), '-C', target, '--strip-components', '1'])
  writeFileSync(join(folder, 'package.json'), '{"type":"module"}\n')
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

function packClient(...args: string[]) {
  const { status, stdout, stderr } = spawnSync('npm', ['run', '--silent', 'pack:client', '--', ...args], {
    cwd: repositoryRoot,
    encoding: 'utf8',
  })
  return { status, stdout, stderr }
}

const run = (program: string, ...args: string[]) => {
  const { status, stdout, stderr } = spawnSync(join(repositoryRoot, 'node_modules', '.bin', program), args, {
    cwd: folder,
    encoding: 'utf8',
  })
  return { status, output: `${stdout}${stderr}` }
}

test('npm run pack:client tells how to install what it built, and without a folder how it is used', () => {
  expect(told).toMatch(/^@valija\/client \S+ is in \S/)
  expect(told).toContain(`\n    npm install ${built}\n`)
  expect(packClient()).toEqual({ status: 2, stdout: '', stderr: 'usage: npm run pack:client -- <folder>\n' })
})

test('publint finds nothing to mend', () => {
  expect(run('publint', built, '--strict')).toMatchObject({ status: 0 })
})

test('it depends on nothing', () => {
  const manifest = JSON.parse(readFileSync(join(built, 'package.json'), 'utf8')) as object
  expect(Object.keys(manifest).filter((key) => /dependencies/i.test(key))).toEqual([])
})

test.each([
  ['nodenext', 'nodenext'],
  ['esnext', 'bundler'],
])('a strict program is typed by it, with the modules of %s', (module, moduleResolution) => {
  writeFileSync(
    join(folder, 'program.ts'),
    `import { type Message, Valija, ValijaError, verifyWebhook } from '@valija/client'
const valija = new Valija({ url: 'https://mail.acme.example', apiKey: 'vlj_1' })
const { id } = await valija.send({ from: 'hi@acme.example', to: ['ann@example.org'], subject: 'Hello', text: 'It works.' })
const message: Message = await valija.messages.get(id)
for (const { status } of message.recipients) if (status === 'bounced') break
// @ts-expect-error: a mail is from somebody
await valija.send({ to: 'ann@example.org', subject: 'Hello', text: 'It works.' })
for (const event of await verifyWebhook('', new Headers(), 'whsec_')) {
  if (event.type === 'message.bounced') event.data.email satisfies string
  // @ts-expect-error: there is no such event
  if (event.type === 'message.vanished') break
}
try { await valija.request('DELETE /keys/{id}', { path: { id } }) } catch (error) { if (error instanceof ValijaError) error.code satisfies string }
`,
  )
  const options = {
    module,
    moduleResolution,
    target: 'es2022',
    lib: ['es2023', 'dom'],
    types: [],
    noEmit: true,
  }
  const strict = { strict: true, exactOptionalPropertyTypes: true, skipLibCheck: false }
  writeFileSync(
    join(folder, 'tsconfig.json'),
    JSON.stringify({ compilerOptions: { ...options, ...strict }, files: ['program.ts'] }),
  )
  expect(run('tsc', '-p', folder)).toEqual({ status: 0, output: '' })
})
