/** A folder of files as templates. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { beforeEach, expect, onTestFinished, test } from 'vitest'
import { readTemplates } from './template-files.ts'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(path.join(os.tmpdir(), 'valija-templates-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
})
const write = (files: Record<string, string>) => {
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(path.dirname(path.join(folder, name)), { recursive: true })
    writeFileSync(path.join(folder, name), text)
  }
}
const refusal = (...paths: string[]) =>
  readTemplates(paths.map((one) => path.join(folder, one))).then(
    () => expect.unreachable('it was read'),
    (error: Error) => error.message.replaceAll(`${folder}/`, ''),
  )

test('files of one name are one template, and what is used comes before what uses it', async () => {
  write({
    'a-receipt.html': '{% layout "base" %}{% block content %}Hello{% endblock %}',
    'a-receipt.txt': 'Hello\n',
    'a-receipt.json': '{"subject":"Your receipt","variables":[{"name":"n","type":"string"}]}',
    'layouts/base.html': "<body>{% block content %}{% endblock %}{%- render 'zz-footer' %}</body>",
    'partials/zz-footer.html': '<p>Acme</p>',
    'whole.json': '{"name":"All of it","subject":"S","text":"T"}',
    'README.md': 'not for us',
    '.hidden.html': 'nor this',
  })
  const place = (name: string) => path.join(folder, name)
  const none = { subject: null, text: null, variables: [] }
  const ignored: string[] = []
  expect(await readTemplates([folder], (file) => ignored.push(file))).toEqual([
    { ...none, slug: 'zz-footer', kind: 'partial', html: '<p>Acme</p>', place: place('partials/zz-footer') },
    {
      ...none,
      slug: 'base',
      kind: 'layout',
      html: expect.stringContaining('<body>'),
      place: place('layouts/base'),
    },
    {
      ...{ slug: 'a-receipt', kind: 'template', subject: 'Your receipt', text: 'Hello\n' },
      ...{ html: expect.stringContaining('layout'), variables: [{ name: 'n', type: 'string' }] },
      place: place('a-receipt'),
    },
    {
      ...none,
      slug: 'whole',
      kind: 'template',
      name: 'All of it',
      subject: 'S',
      text: 'T',
      html: null,
      place: place('whole'),
    },
  ])
  expect(ignored).toEqual([place('README.md')])
  const alone = await readTemplates([place('a-receipt.html')])
  expect(alone).toMatchObject([{ slug: 'a-receipt', subject: 'Your receipt', text: 'Hello\n' }])
})

test('two that use each other are both there: the API says what is wrong with them', async () => {
  write({ 'partials/a.html': '{% render "b" %}', 'partials/b.html': '{% render "a" %}' })
  expect((await readTemplates([folder])).map(({ slug }) => slug)).toEqual(['b', 'a'])
})

test('every fault of the files is told at once, by its file', async () => {
  write({
    'a.json': '{"subject"',
    'b.json': '{"slug":"c"}',
    'c.json': '{"text":"x"}',
    'c.txt': 'y',
    'd.json': '[]',
    'layouts/e.json': '{"kind":"partial"}',
    'f.html': '',
    'more/f.html': '',
  })
  const lines = (await refusal('.')).split('\n')
  expect(lines).toEqual([
    expect.stringMatching(/^a\.json is no JSON: /),
    'b.json: "slug" is none of name, kind, subject, text, html, variables; the slug is the name of the file.',
    'c.json: text stands in c.txt already.',
    'd.json does not hold a JSON object.',
    'layouts/e.json: its kind is "partial", but the folder says layout.',
    'f and more/f are both "f".',
  ])
})

test('a folder without templates is said to be one', async () => {
  write({ 'README.md': '' })
  expect(await refusal('.')).toBe(`There is no .html, .txt or .json in ${folder}.`)
})
