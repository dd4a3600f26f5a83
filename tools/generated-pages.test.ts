/** What the generators write, and that a stale file is told from a current one. */
import { describe, expect, it } from 'vitest'
import { clientTypes } from './client-types.ts'
import { causesPage } from './generate-causes.ts'
import { cliPage } from './generate-cli.ts'
import { errorsPage } from './generate-errors.ts'
import { reasonsPage } from './generate-reasons.ts'
import { rulesJson } from './generate-rules.ts'
import { firstDifference } from './step.ts'

describe('docs/errors.md', () => {
  const page = errorsPage({
    too_late: {
      status: 409,
      smtp: '550 5.7.1',
      title: 'It is | too late',
      fix: 'Be early.',
      isRetryable: false,
    },
    busy: { status: 503, smtp: '450 4.3.0', title: 'Busy', fix: 'Wait.', isRetryable: true },
  })

  it('has a row and a section for each code, in alphabetical order', () => {
    expect(page).toContain('| [`busy`](#busy) | 503 | `450 4.3.0` | Busy | yes |\n| [`too_late`]')
    expect(page).toContain('## busy\n\nBusy (HTTP 503, SMTP `450 4.3.0`, retry)\n\nWait.\n\n## too_late\n')
  })

  it('keeps its table whole when a title holds a bar', () => {
    expect(page).toContain('| It is \\| too late | no |')
  })
})

describe('docs/reasons.md', () => {
  it('has a row with schedule, actor and suppression, and a section with meaning and remedy, for each reason', () => {
    const full = {
      meaning: 'It is full.',
      remedy: 'Make room.',
      actor: 'recipient',
      suppression: 'third_in_14_days',
      bounceType: 'soft',
    } as const
    const page = reasonsPage(
      { mailbox_full: full, gone: { ...full, actor: 'nobody', suppression: 'never' } },
      { mailbox_full: [60_000, 7_200_000], gone: null },
    )
    expect(page).toContain(
      '| [`mailbox_full`](#mailbox_full) | 1 min, 2 h | the recipient | third time in 14 days |\n| [`gone`](#gone) | no | nobody | no |',
    )
    expect(page).toContain(
      '## mailbox_full\n\nIt is full.\n\nMake room.\n\n`bounce_type` of a bounce: `soft`.\n',
    )
  })
})

describe('docs/causes.md', () => {
  it('has a row for each cause, and links those that are reasons', () => {
    const page = causesPage({ spam: 'It is spam.', no_worker: 'Nobody works.' }, ['spam'])
    expect(page).toContain('| `no_worker` | Nobody works. |')
    expect(page).toContain('Reasons: [`spam`](reasons.md#spam).')
    expect(page).not.toContain('It is spam.')
  })
})

describe('docs/cli.md', () => {
  it('has every command with its summary, its example and the flags of its own', () => {
    const flags = {
      mode: { type: 'string', value: '<a|b>', help: 'which of <a> and <b>' },
      json: { type: 'boolean', help: '' },
    } as const
    const page = cliPage([
      {
        name: 'thing add',
        args: '<id>',
        summary: 'adds a thing',
        flags,
        example: 'thing add 1',
        run: async () => undefined,
      },
    ])
    expect(page).toContain(
      '## thing\n\n**`thing add <id>`**: adds a thing.\n\n```sh\nnpm run valija -- thing add 1\n```\n',
    )
    expect(page).toContain('| `--mode <a\\|b>` | which of `<a>` and `<b>` |\n\nAlso `--json`.\n')
  })
})

describe('the rules as JSON', () => {
  it('are what the YAML says', async () => {
    const yaml = `- line: ['550 5.1.1 x', "it's"]\n  status: 5.1.1\n  code: 550\n  reason: spam\n`
    const json: unknown = JSON.parse(await rulesJson('replies', yaml))
    expect(json).toMatchObject({
      content: [{ line: ['550 5.1.1 x', "it's"], status: '5.1.1', code: 550, reason: 'spam' }],
    })
  })

  it('are not made of what the product could not use', async () => {
    await expect(rulesJson('bounces', '- line: 550 x\n  text: x\n  reason: luck')).rejects.toThrow(
      /rules\/bounces\.yaml:3: "reason" is one of/,
    )
    await expect(rulesJson('shaping', 'unknown:\n  tls: perhaps')).rejects.toThrow(
      /rules\/shaping\.yaml:2 unknown\.tls/,
    )
  })
})

describe("the client's types", () => {
  const description = (schema: string) => `
components:
  schemas:
    Thing: ${schema}
paths:
  /things/{id}:
    patch:
      summary: Change a thing
      parameters:
        - { name: id, in: path, required: true, schema: { type: string } }
        - { name: dry-run, in: query, schema: { type: boolean } }
      requestBody: { required: true, content: { application/json: { schema: { $ref: '#/components/schemas/Thing' } } } }
      responses:
        200: { content: { application/json: { schema: { $ref: '#/components/schemas/Thing' } } } }
        204: {}
        400: { content: { application/problem+json: { schema: { $ref: '#/components/schemas/Problem' } } } }
  /things/raw:
    get: { summary: Get it raw, responses: { 200: { content: { message/rfc822: { schema: { type: string } } } } } }
`

  it('say of a schema what it says, with its words', () => {
    const schema = `{ type: object, required: [a], description: 'A thing, not */ a comment.', properties: {
      a: { type: [integer, 'null'] }, b-c: { enum: [x, 'y'], description: Of two. }, d: { type: array, items: { type: string } },
      e: { type: object, additionalProperties: { type: string } }, f: { anyOf: [{ const: true }, { type: object, properties: { g: {} } }] } } }`
    expect(clientTypes(description(schema))).toContain(`/** A thing, not *\\/ a comment. */
export type Thing = {
  a: number | null
  /** Of two. */
  'b-c'?: 'x' | 'y'
  d?: (string)[]
  e?: Record<string, string>
  f?: true | {
    g?: unknown
  }
}
`)
  })

  it('say of an operation what it takes and answers when it succeeds', () => {
    expect(clientTypes(description('{ type: object }'))).toContain(`  /** Change a thing. */
  'PATCH /things/{id}': {
    path: { id: string }
    query: { 'dry-run'?: boolean }
    body: Thing
    answer: Thing | undefined
  }
  /** Get it raw. */
  'GET /things/raw': {
    path: {}
    query: {}
    body: undefined
    answer: Uint8Array<ArrayBuffer>
  }
`)
  })

  it('are not written for a vocabulary that is not known', () => {
    expect(() => clientTypes(description('{ type: decimal }'))).toThrow('decimal')
  })
})

describe('a generated file', () => {
  it.each([
    ['is current', 'a\nb\n', 'a\nb\n', undefined],
    ['differs in its first line', 'x\nb\n', 'a\nb\n', 1],
    ['differs in its last line', 'a\nx\n', 'a\nb\n', 2],
    ['is not there yet', '', 'a\n', 1],
    ['lacks lines', 'a', 'a\nb', 2],
    ['has lines too many', 'a\nb\nc', 'a\nb', 3],
  ])('%s', (_name, onDisk, generated, line) => {
    expect(firstDifference(onDisk, generated)).toBe(line)
  })
})
