/** The flags of `valija send` as a body of POST /send. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { Readable } from 'node:stream'
import { type Message, ValijaError } from '@valija/client'
import { expect, onTestFinished, test, vi } from 'vitest'
import { type FlagValues, readArguments, UsageError } from './command.ts'
import { sendCommand, type sendFlags } from './commands/send.ts'
import { readMail, readVariables, untilEnded } from './send-mail.ts'

const read = (...argv: string[]) =>
  readMail(readArguments(sendCommand, argv).flags as FlagValues<typeof sendFlags>)
const least = [
  '--from',
  'hi@acme.test',
  '--to',
  'ann@example.org',
  '--subject',
  'Hello',
  '--text',
  'It works.',
]

test('what was not said is not in it', async () => {
  expect(await read(...least)).toEqual({
    from: 'hi@acme.test',
    to: ['ann@example.org'],
    subject: 'Hello',
    text: 'It works.',
  })
})

test('every flag has its field, and files go with it', async () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'valija-send-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const file = path.join(folder, 'order.txt')
  writeFileSync(file, '42')
  const more =
    '--cc c@d.test --bcc e@f.test --reply-to g@h.test --html <p> --tag a --tag b --metadata order=4=2 --stream bulk'
  const ways =
    '--ttl 60 --route r --require-tls --unsubscribe --sandbox --sensitive --late-after 30 --send-at 2030-01-01T00:00:00Z'
  const words = [...more.split(' '), ...ways.split(' '), '--header', 'X-Order: a:b', '--attach', file]
  expect(await read(...least, ...words)).toEqual({
    from: 'hi@acme.test',
    to: ['ann@example.org'],
    cc: ['c@d.test'],
    bcc: ['e@f.test'],
    reply_to: ['g@h.test'],
    subject: 'Hello',
    text: 'It works.',
    html: '<p>',
    attachments: [{ filename: 'order.txt', content: 'NDI=' }],
    headers: { 'X-Order': 'a:b' },
    tags: ['a', 'b'],
    metadata: { order: '4=2' },
    stream: 'bulk',
    send_at: '2030-01-01T00:00:00Z',
    ttl_seconds: 60,
    route: 'r',
    require_tls: true,
    unsubscribe: true,
    sandbox: true,
    sensitive: true,
    notify_if_not_handed_off_within: 30,
  })
  writeFileSync(path.join(folder, 'values.json'), '{"name":"Ann","total":42}')
  const filled = [
    '--template',
    'receipt',
    '--variables',
    path.join(folder, 'values.json'),
    '--variable',
    'name=Bob',
  ]
  expect(await read('--from', 'a@b.test', '--to', 'c@d.test', ...filled)).toEqual({
    from: 'a@b.test',
    to: ['c@d.test'],
    template: { slug: 'receipt', variables: { name: 'Bob', total: 42 } },
  })
  expect(await read('--from', 'a@b.test', '--to', 'c@d.test', '--raw', file)).toEqual({
    from: 'a@b.test',
    to: ['c@d.test'],
    raw: 'NDI=',
  })
})

test('a variable of the command line is of the type that the template declares, and text where it cannot be', async () => {
  const declared = [
    { name: 'total', type: 'number' },
    { name: 'paid', type: 'boolean' },
    { name: 'when', type: 'date' },
    { name: 'count', type: 'number' },
  ] as const
  const typed = (...variable: string[]) =>
    readVariables({ variable, variables: undefined }, async () => declared)
  expect(await typed('total=5.50', 'paid=false', 'when=2026-01-31', 'other=7', 'count=0x10')).toEqual({
    ...{ total: 5.5, paid: false, when: '2026-01-31', other: '7', count: '0x10' },
  })
  expect(await typed('total=', 'paid=yes')).toEqual({ total: '', paid: 'yes' })
  const nobodyAsks = async () => expect.unreachable('nothing was given')
  expect(await readVariables({ variable: [], variables: undefined }, nobodyAsks)).toEqual({})
})

test('a mail of standard input is sent as its bytes, of whatever character set', async () => {
  const bytes = Buffer.from([...Buffer.from('Subject: a\r\n\r\n'), 0xe9, 0xef, 0xbb, 0xbf, 0x00, 0x80])
  onTestFinished(() => void vi.restoreAllMocks())
  vi.spyOn(process, 'stdin', 'get').mockReturnValue(Readable.from([bytes]) as typeof process.stdin)
  expect(await read('--from', 'a@b.test', '--to', 'c@d.test', '--raw', '-')).toMatchObject({
    raw: bytes.toString('base64'),
  })
  vi.spyOn(process, 'stdin', 'get').mockReturnValue(Readable.from(['Typed']) as typeof process.stdin)
  expect(await read(...least, '--text', '-', '--html', '<p>')).toMatchObject({ text: 'Typed', html: '<p>' })
})

test('a mail that is waited for is asked for again while the API gives no answer, and no longer than is patient', async () => {
  onTestFinished(() => void vi.restoreAllMocks())
  const told = vi.spyOn(process.stderr, 'write').mockImplementation(() => true)
  const away = new ValijaError({ code: 'no_answer', message: 'It cannot be reached.' })
  const answers = [{ status: 'queued' }, away, away, { status: 'delivered' }]
  const get = async () => {
    const next = answers.shift()
    if (next instanceof Error) throw next
    return next as Message
  }
  expect(await untilEnded({ get }, 'msg_1')).toEqual({ status: 'delivered' })
  expect(told.mock.calls).toEqual([['It cannot be reached. The mail is accepted; it is asked for again.\n']])
  const never = async () => Promise.reject(away)
  await expect(untilEnded({ get: never }, 'msg_1', 0)).rejects.toBe(away)
  const gone = new ValijaError({ code: 'not_found', status: 404, message: 'There is none.' })
  await expect(untilEnded({ get: async () => Promise.reject(gone) }, 'msg_1')).rejects.toBe(gone)
})

test.each([
  ['--from is missing.', ['--to', 'a@b.test']],
  ['--to is missing.', ['--from', 'a@b.test']],
  ['--subject is missing.', ['--from', 'a@b.test', '--to', 'a@b.test', '--text', 'x']],
  ['--metadata takes name=value, not "order".', [...least, '--metadata', 'order']],
  ['--header takes name:value, not "X".', [...least, '--header', 'X']],
  ['--variable takes name=value, not "a".', [...least, '--template', 'x', '--variable', 'a']],
  [
    'The file of --variables, /dev/null, does not hold a JSON object.',
    [...least, '--template', 'x', '--variables', '/dev/null'],
  ],
  ['--ttl takes a number, not "soon".', [...least, '--ttl', 'soon']],
  ['The file of --attach, /nowhere/x, cannot be read: ENOENT.', [...least, '--attach', '/nowhere/x']],
])('refused as typed wrongly: %s', async (sentence, argv) => {
  const error = await read(...argv).catch((thrown: unknown) => thrown)
  expect(error).toBeInstanceOf(UsageError)
  expect((error as Error).message).toBe(sentence)
})
