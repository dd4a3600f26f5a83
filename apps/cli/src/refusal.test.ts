/** How a refusal is told to whoever typed the command. */
import { readFile } from 'node:fs/promises'
import { ValijaError } from '@valija/client'
import { errorCatalogue } from '@valija/core'
import { describe, expect, test } from 'vitest'
import { type Command, FaultsFound, UsageError } from './command.ts'
import { commands } from './commands.ts'
import { nearFlag, refusalOf, refusalText } from './refusal.ts'

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

test('with --json what is refused before the API is asked is a problem as well', async () => {
  const json = (error: Error) => {
    const { text, code } = refusalOf(named('template push'), error, true)
    return { ...JSON.parse(text), exit: code }
  }
  const usual = { status: null, fix: '', errors: [], request_id: null }
  expect(json(new UsageError('--to is missing.'))).toEqual({
    ...usual,
    ...{ code: 'typed_wrongly', detail: '--to is missing.', exit: 2 },
  })
  const missing = await readFile('/nope/key').catch((error: Error) => error)
  expect(json(missing as Error)).toEqual({
    ...usual,
    ...{ code: 'command_failed', detail: 'There is no /nope/key.', exit: 1 },
  })
  const errors = [{ path: 'receipt.html', message: 'Line 2: Is wrong.' }]
  expect(json(new FaultsFound(errors))).toEqual({
    ...usual,
    ...{ code: 'invalid_request', detail: 'receipt.html: Line 2: Is wrong.', errors, exit: 1 },
  })
  expect(refusalOf(named('template push'), new UsageError('No.'), false)).toEqual({
    text: 'valija: No.\nusage: npm run valija -- template push <file or folder>…; --help shows the flags\n',
    code: 2,
  })
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
