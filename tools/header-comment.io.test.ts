import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { firstSentence, headerComment } from './header-comment.ts'

const ask = (program: string) => {
  const file = fileURLToPath(new URL(`../${program}`, import.meta.url))
  return spawnSync(process.execPath, [file, '--help'], { encoding: 'utf8' })
}

test('the comment at the head of a file, without its stars', () => {
  const source =
    "/**\n * One, by t-01.test.ts,\n * two. Three.\n *\n *   four\n */\nimport '*'\n/** five */\n"
  expect(headerComment(source)).toBe('One, by t-01.test.ts,\ntwo. Three.\n\n  four')
  expect(firstSentence(headerComment(source))).toBe('One, by t-01.test.ts, two.')
  expect(firstSentence(headerComment('/** No point at the end */'))).toBe('No point at the end')
  expect(headerComment('import x')).toBe('')
})

test('npm run bench -- --help says what there is to give', () => {
  const { status, stdout, stderr } = ask('bench/main.ts')
  expect([status, stderr]).toEqual([0, ''])
  expect(stdout).toMatch(/^ +--mails <n> /m)
})

test('npm run soak -- --help has a whole sentence for each', () => {
  const { status, stdout } = ask('tools/soak.ts')
  expect(status).toBe(0)
  const lines = stdout.split('\n').filter((line) => line.startsWith('  '))
  expect(lines.length).toBeGreaterThan(5)
  for (const line of lines) expect(line).toMatch(/^ {2}\S+ +\S.*[.:]$/)
})
