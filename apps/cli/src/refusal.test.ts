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
    ['suppression add', '/email', '<address>'],
    ['erase', '/email', '<address>'],
    ['domain add', '/name', '<domain>'],
    ['domain add', '/dkim_algorithms/0', '--algorithm'],
    ['webhook create', '/url', '<url>'],
    ['webhook listen', '/url', '--public-url'],
    ['webhook replay', '/event_id', '--event'],
    ['tenant update', '/limits/foo', '--limit foo'],
    ['tenant update', '/limits/alarms/bounce_rate', '--limit alarms.bounce_rate'],
    ['tenant create', '/name', '--name'],
    ['webhook update', '/url', '--public-url'],
    ['webhook update', '/batch/max_events', '--batch'],
    ['key update', '/recipients/1', '--recipient (number 2)'],
    ['mailbox update', '/password', '--password-file'],
    ['route create', '/name', '<name>'],
    ['route-list create', '/routes/1/route', '<route[=weight]>'],
    ['source-ip create', '/warm_up/caps/1', '--warm-up'],
  ])('of %s at %s is told at %s, without a word of JSON', (name, path, flag) => {
    expect(refusalText(invalid({ path, message: 'Is wrong.' }), named(name))).toBe(`${flag}: Is wrong.`)
  })

  test('of the whole has no path, and one of a domain has a domain for an example', () => {
    const whole = invalid({ path: '', message: 'Line 1: There is no column "email".' })
    expect(refusalText(whole, named('suppression import'))).toBe('Line 1: There is no column "email".')
    const domain = invalid({ path: '/name', message: 'Write it in full, as in name@example.com.' })
    expect(refusalText(domain, named('domain add'))).toBe('<domain>: Write it in full, as in example.com.')
    expect(refusalText(domain, named('tenant create'))).toContain('name@example.com')
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

test('what is told to be asked over HTTP is told as commands', () => {
  const { fix } = errorCatalogue.conflict
  const error = new ValijaError({ code: 'conflict', message: 'There is one: see GET /domains', fix })
  expect(refusalText(error, named('tenant create'))).toBe(
    'There is one: see "domain list". Read the present state and decide anew.',
  )
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
