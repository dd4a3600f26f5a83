/** How a refusal is told to whoever typed the command. */
import { readFile } from 'node:fs/promises'
import { ValijaError } from '@valija/client'
import { errorCatalogue } from '@valija/core'
import { describe, expect, test } from 'vitest'
import type { Command } from './command.ts'
import { commands } from './commands.ts'
import { nearFlag, refusalText } from './refusal.ts'

const named = (name: string): Command => commands.find((one) => one.name === name)!
const invalid = (...errors: { path: string; message: string }[]) =>
  new ValijaError({
    ...{ code: 'invalid_request', status: 400, errors },
    message: `${errors[0]?.path}: ${errors[0]?.message}`,
    fix: errorCatalogue.invalid_request.fix,
  })

describe('a fault', () => {
  test.each([
    ['key create', '/expires_at', '--expires'],
    ['key create', '/scopes/0', '--scope'],
    ['key create', '/scopes/1', '--scope (number 2)'],
    ['send', '/send_at', '--send-at'],
    ['send', '/ttl_seconds', '--ttl'],
    ['send', '/notify_if_not_handed_off_within', '--late-after'],
    ['send', '/attachments/0/content', '--attach'],
    ['send', '/template/variables/name', '--variable name'],
    ['send', '/template/slug', '--template'],
    ['message list', 'metadata.order', '--metadata'],
    ['message list', 'limit', '--limit'],
    ['message resend', '/recipients/0', '--to'],
    ['stats', 'group_by', '--by'],
    ['audit', 'key', '--actor'],
    ['key revoke', '/elsewhere', '/elsewhere'],
  ])('of %s at %s is told at %s, without a word of JSON', (name, path, flag) => {
    expect(refusalText(invalid({ path, message: 'Is wrong.' }), named(name))).toBe(`${flag}: Is wrong.`)
  })

  test('of several has a line', () => {
    const error = invalid(
      { path: '/to/0', message: 'Is no address.' },
      { path: '/tags', message: 'Too many.' },
    )
    expect(refusalText(error, named('send'))).toBe(
      'The request is not valid.\n  --to: Is no address.\n  --tag: Too many.',
    )
  })
})

test('between what is wrong and what to do there is a full stop', () => {
  const error = new ValijaError({
    code: 'not_found',
    message: 'There is no such thing',
    fix: 'Check the id.',
  })
  expect(refusalText(error, named('key revoke'))).toBe('There is no such thing. Check the id.')
})

test('a file that is not there is told by its name', async () => {
  const error = await readFile('/nope/key').catch((error: Error) => error)
  expect(refusalText(error as Error, named('key list'))).toBe('There is no /nope/key.')
})

test.each([
  ['--nam', ' Did you mean --name?'],
  ['--expire-at', ' Did you mean --expires?'],
  ['--scopes', ' Did you mean --scope?'],
  ['--something-else', ''],
])('an unknown %s is answered with%s', (unknown, hint) => {
  expect(nearFlag(unknown, named('key create').flags)).toBe(hint)
})
