import { chmod, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { addToEnvFile } from './add-to-env-file.ts'

let folder: string
let file: string
beforeEach(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), 'valija-env-'))
  file = path.join(folder, '.env')
})
afterEach(() => rm(folder, { recursive: true, force: true }))

const read = () => readFile(file, 'utf8')
const modeOf = async (place: string) => ((await stat(place)).mode & 0o777).toString(8)

test('a file that is not there is made, for its owner alone', async () => {
  await addToEnvFile(file, { A: 'one', B: 'two' }, {})
  expect(await read()).toBe('A=one\nB=two\n')
  expect(await modeOf(file)).toBe('600')
  expect(await readdir(folder)).toEqual(['.env'])
})

test('all that stands there stays in its place, lines of nothing get their value, and others may no longer read it', async () => {
  const kept = '# ours\nC="a\nb"\nA=0 # A=\n'
  await writeFile(file, `${kept}export B =  \r\n#D=\nE=5`)
  await chmod(file, 0o644)
  await addToEnvFile(file, { B: 'two', D: 'four' }, { B: '', E: '5' })
  expect(await read()).toBe(`${kept}export B =two\r\n#D=\nE=5\nD=four\n`)
  expect(await modeOf(file)).toBe('600')
})

test('a file behind a link is written where it is', async () => {
  const target = path.join(folder, 'shared')
  await writeFile(target, 'A=1\n')
  await symlink(target, file)
  await addToEnvFile(file, { B: '2' }, {})
  expect(await readFile(target, 'utf8')).toBe('A=1\nB=2\n')
  expect((await readdir(folder)).sort()).toEqual(['.env', 'shared'])
})

test.each([
  ['a value is never overwritten', 'B=mine\n', {}, 'B stands in'],
  ['nor one that the environment hides', 'B=mine\n', { B: '' }, 'B stands in'],
  ['what the environment sets to nothing would hide the line', 'C=1\n', { B: '' }, 'B is set to nothing'],
  ['a line within quotation marks is none of ours', 'C="\nB=\n"\n', {}, 'is a quotation mark left open'],
])('%s: the file is as it was', async (_, text, surroundings, said) => {
  await writeFile(file, text)
  await expect(addToEnvFile(file, { A: '1', B: '2' }, surroundings)).rejects.toThrow(said)
  expect(await read()).toBe(text)
  expect(await readdir(folder)).toEqual(['.env'])
})

test('what cannot be written is said in a sentence', async () => {
  await expect(addToEnvFile('/dev/null', { A: '1' }, {})).rejects.toThrow('/dev/null is no file that')
  const nowhere = path.join(folder, 'no', '.env')
  await expect(addToEnvFile(nowhere, { A: '1' }, {})).rejects.toThrow(
    `${nowhere} cannot be written (ENOENT): mend that, or set A by yourself`,
  )
})
