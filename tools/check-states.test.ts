/** Shows the states check red when code and database differ in either direction. */
import { expect, it } from 'vitest'
import { checkStates } from './check-states.ts'
import { temporaryTree } from './temporary-tree.test-support.ts'

const states = ['queued', 'sent']
const define = (check: string) =>
  `CREATE TABLE r (\n  status text NOT NULL,\n  CONSTRAINT r_check CHECK (${check})\n);\n`

function messagesFor(...migrations: string[]): string[] {
  const files = migrations.map((sql, at) => [`prisma/migrations/000${at}_x/migration.sql`, sql])
  return checkStates(temporaryTree(Object.fromEntries(files)), 'r_check', states).map(
    ({ message }) => message,
  )
}

it.each([
  `status IN ('queued', 'sent')`,
  `status IN ('sent',\n 'queued')`,
  `(status = ANY (ARRAY['queued'::text, 'sent'::text]))`,
  `status IN ('queued', 'sent') -- 'lost' is no state`,
])('passes %s', (check) => {
  expect(messagesFor(define(check))).toEqual([])
})

it('refuses a constraint that lacks a state', () => {
  expect(messagesFor(define(`status IN ('queued')`))).toEqual([
    expect.stringMatching(/r_check lacks the state 'sent'/),
  ])
})

it('refuses a constraint that allows a state the code does not know', () => {
  const messages = messagesFor(define(`status IN ('queued', 'sent', 'lost')`))
  expect(messages).toEqual([expect.stringMatching(/allows 'lost'/)])
})

it('refuses a schema without the constraint, and does not take another one for it', () => {
  expect(messagesFor('CREATE TABLE r ();')).toEqual(['no migration defines the constraint r_check'])
  expect(messagesFor(define(`true`).replace('r_check', 'other_r_check'))).toHaveLength(1)
})

it('judges the newest migration that defines it, and there the last definition', () => {
  const old = define(`status IN ('queued')`)
  const renewed = `ALTER TABLE r DROP CONSTRAINT r_check;\nALTER TABLE r ADD CONSTRAINT "r_check" CHECK (status IN ('queued', 'sent'));`
  expect(messagesFor(old, renewed, 'SELECT 1;')).toEqual([])
  expect(messagesFor(`${old}${renewed}`)).toEqual([])
  expect(messagesFor(renewed, old)).toHaveLength(1)
})

it('says the line of the constraint', () => {
  const root = temporaryTree({ 'prisma/migrations/1/migration.sql': define(`status IN ('queued')`) })
  expect(checkStates(root, 'r_check', states)[0]).toMatchObject({
    path: 'prisma/migrations/1/migration.sql',
    line: 3,
  })
})
