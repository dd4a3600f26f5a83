/** What the API says, at a terminal. */
import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { findCommand, readArguments } from './command.ts'
import { commands } from './commands.ts'
import { counted, inCommands } from './in-commands.ts'

const id = 'dom_0192f0c1a2b37c4d8e5f60718293a4b5'

test.each([
  [`publish them, then POST /domains/${id}/verify.`, `publish them, then "domain verify ${id}".`],
  ['GET /domains/:id lists them', '"domain show <id>" lists them'],
  ['see GET /suppressions?email=, and remove', 'see "suppression list --email …", and remove'],
  ['see GET /templates?slug=a.', 'see "template show a".'],
  ['in the inbox (GET /inbox?to=a@b.example) and', 'in the inbox ("inbox list --to a@b.example") and'],
  [
    'Leave it empty for manual, or give ?reason= for all.',
    'Leave it empty for manual, or give --reason for all.',
  ],
  ['Decide anew; detail names what is in the way.', 'Decide anew.'],
  ['it shrinks. detail names the limit, its value, and where.', 'it shrinks.'],
  ['change it by PATCH /domains/:id.', 'change it by "domain update <id>".'],
  [`PATCH /domains/${id} with {"dkim":true} and`, `"domain update ${id} --dkim yes" and`],
  ['(PATCH /tenants/:id with "status": "active"); what', '("tenant resume <id>"); what'],
  [
    'move it: PATCH /messages/:id with {"send_at": null}',
    'move it: PATCH /messages/:id with {"send_at": null}',
  ],
  ['make it by POST /routes.', 'make it by "route create".'],
  [`resume it (POST /routes/rou_${id.slice(4)}/resume)`, `resume it ("route resume rou_${id.slice(4)}")`],
  ['change it by PATCH /route-lists/:id.', 'change it by "route-list update <id> …".'],
  [
    'move it: PATCH /messages/:id with {"send_at": null} (npm run valija -- message move <id> --now).',
    'move it: "message move <id> --now".',
  ],
  ['see GET /erasures.', 'see GET /erasures.'],
])('%s', (text, told) => {
  expect(inCommands(text)).toBe(told)
})

test('whatever is told to be typed is understood by the command', () => {
  const source = readFileSync(new URL('./in-commands.ts', import.meta.url), 'utf8')
  const told = [...source.matchAll(/^ {2}'(?:GET|POST) [^']*': '([^']+)',$/gm)].map(([, line = '']) => line)
  expect(told.length).toBeGreaterThan(20)
  for (const line of told) {
    const found = findCommand(commands, line.split(' '))
    // These take an argument that the API's text does not know.
    if (!/ (add|create)$/.test(line)) expect(() => readArguments(found!.command, found!.rest)).not.toThrow()
    expect(found?.command.name).toBe(line.replace(/ [-$].*/, ''))
  }
})

test('one is told as one', () => {
  expect([counted(1, 'event'), counted(0, 'event'), counted(2, 'day')]).toEqual([
    '1 event',
    '0 events',
    '2 days',
  ])
})
