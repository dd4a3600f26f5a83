import { existsSync, globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { type CrashPoint, markAwaits, wayOfAMail } from './crash-points.ts'

const root = join(import.meta.dirname, '..')

function mark(text: string): { marked: string; names: string[] } {
  const points: CrashPoint[] = []
  const marked = markAwaits('a.ts', text, points)
  return { marked, names: points.map(({ name }) => name) }
}

test('every await has a point before and one after it, named by where it is', () => {
  const { marked, names } = mark('const a = 1\nawait one(await two())\n')
  expect(marked).toBe(
    'const a = 1\n__torture.after(1, (__torture.before(0), await one(__torture.after(3, (__torture.before(2), await two())))))\n',
  )
  expect(names).toEqual(['a.ts:2:1 before', 'a.ts:2:1 after', 'a.ts:2:11 before', 'a.ts:2:11 after'])
})

test('what `for await` goes through has its points, and no line is added', () => {
  const { marked } = mark('for await (const a of b) {\n  c(a)\n}\n')
  expect(marked).toBe('for await (const a of __torture.after(1, (__torture.before(0), b))) {\n  c(a)\n}\n')
})

test('a marked text does what it did', async () => {
  const passed: string[] = []
  const __torture = {
    before: (point: number) => void passed.push(`before ${point}`),
    after: <T>(point: number, value: T) => {
      passed.push(`after ${point}`)
      return value
    },
  }
  const { marked } = mark('const a = await Promise.resolve(20)\nreturn a + (await Promise.resolve(22))')
  const run = new Function('__torture', `return (async () => {\n${marked}\n})()`)
  expect(await run(__torture)).toBe(42)
  expect(passed).toEqual(['before 0', 'after 1', 'before 2', 'after 3'])
})

test('every file on the way of a mail is where it is said to be', () => {
  expect(wayOfAMail.filter((file) => !existsSync(join(root, file)))).toEqual([])
})

const onlySubmission = 'on the way of mail that is submitted over SMTP: a run posts'
const onlyTemplates = 'on the way of mail that names a template: mails of a run bring their content'
const onlyLogins = 'for relays that want a login: a run delivers to the exchangers'

/** Files that the map names, that wait for something, and that no mail of a run comes to. */
const passedByNoRun: Record<string, string> = {
  'apps/smtp/src/submission-listener.ts': onlySubmission,
  'apps/smtp/src/submission-login.ts': onlySubmission,
  'apps/smtp/src/kept-bytes.ts': onlySubmission,
  'packages/flows/src/submit-message.ts': onlySubmission,
  'packages/flows/src/template-desk.ts': onlyTemplates,
  'packages/flows/src/template-library.ts': onlyTemplates,
  'packages/templates/src/renderer.ts': onlyTemplates,
  'packages/store/src/suppressions.ts':
    'a mail reads them in the statements of others; here the API changes them',
  'packages/store/src/queue/examine-redis.ts': '`doctor` examines; no process of a run does',
  'packages/courier/src/tls-policy/mta-sts-fetch.ts': 'no site of a run has such a policy to be fetched',
  'packages/courier/src/tls-policy/resolver-lookup.ts': 'for fetching such a policy',
  'packages/courier/src/tls-policy/tlsa-lookup.ts':
    "answers of a run's DNS are not authenticated: no TLSA is asked for",
  'packages/mail/src/dkim.ts': "senders' domains of a run are vouched for, and publish no key to sign by",
  'packages/courier/src/nodemailer-session.ts': onlyLogins,
  'packages/courier/src/gated-body.ts': onlyLogins,
}

test("every file with an await that the map's way of a message names has its points, or a reason why no run comes to it", () => {
  const named = namedByTheMap()
  expect(named.length).toBeGreaterThan(60)
  expect(named.filter((file) => !existsSync(join(root, file)))).toEqual([])
  const waiting = named.filter((file) => mark(readFileSync(join(root, file), 'utf8')).names.length > 0)
  const isListed = (file: string) => (wayOfAMail as readonly string[]).includes(file)
  expect(waiting.filter((file) => !isListed(file)).sort()).toEqual(Object.keys(passedByNoRun).sort())
})

/** From the first table under "The way of a message" (docs/ARCHITECTURE.md): `flows/a.ts`, `b.ts` beside it, and all of `flows/c/`. */
function namedByTheMap(): string[] {
  const map = readFileSync(join(root, 'docs/ARCHITECTURE.md'), 'utf8')
  const [, section = ''] = map.split('\n## The way of a message\n')
  const [, table = ''] = /^(\|.*?)\n\n/ms.exec(section) ?? []
  return [...new Set(table.split('\n').flatMap(namedInRow))]
}

function namedInRow(row: string): string[] {
  let folder = ''
  return [...row.matchAll(/`([\w./-]+(?:\.ts|\/))`/g)].flatMap(([, name = '']) => {
    const inFolder = name.includes('/') ? inRepository(name) : folder + name
    folder = inFolder.slice(0, inFolder.lastIndexOf('/') + 1)
    return inFolder.endsWith('/')
      ? globSync(`${inFolder}*.ts`, { cwd: root }).filter(isOfTheProduct)
      : [inFolder]
  })
}

const inRepository = (name: string) =>
  name.startsWith('apps/') ? name : name.replace(/^([^/]+)\//, 'packages/$1/src/')

const isOfTheProduct = (file: string) => !/\.(test|test-support|bench)\.ts$/.test(file)
