/** Arguments read by the table of commands, and what the table says of itself. */
import { describe, expect, test } from 'vitest'
import { type Command, command, findCommand, readArguments, UsageError } from './command.ts'
import { commands } from './commands.ts'
import { commandHelp, groupHelp, overview, titleOf } from './help.ts'

const one = (fields: Partial<Command>): Command =>
  command({ name: 'thing add', summary: 'adds a thing', run: async () => undefined, ...fields })
const fault = (definition: Command, argv: string[]) => {
  try {
    readArguments(definition, argv)
  } catch (error) {
    expect(error).toBeInstanceOf(UsageError)
    return (error as Error).message
  }
  return undefined
}

describe('a command', () => {
  test('is found by two words before one, and what follows is its own', () => {
    const all = [one({ name: 'thing' }), one({ name: 'thing add' })]
    expect(findCommand(all, ['thing', 'add', 'x'])).toMatchObject({
      command: { name: 'thing add' },
      rest: ['x'],
    })
    expect(findCommand(all, ['thing', 'x'])).toMatchObject({ command: { name: 'thing' }, rest: ['x'] })
    expect(findCommand(all, ['things'])).toBeNull()
    expect(findCommand(all, [])).toBeNull()
  })

  test('gets every flag: false, nothing or an empty list where it was not given', () => {
    const flags = {
      yes: { type: 'boolean', help: '' },
      name: { type: 'string', help: '' },
      tag: { type: 'string', multiple: true, help: '' },
    } as const
    const { args, flags: none } = readArguments(one({ args: '[id]', flags }), [])
    expect([args, none]).toEqual([[], { yes: false, name: undefined, tag: [] }])
    const typed = ['--tag', 'a', 'id', '--yes', '--name=b', '--tag', 'c']
    expect(readArguments(one({ args: '[id]', flags }), typed)).toEqual({
      args: ['id'],
      flags: { yes: true, name: 'b', tag: ['a', 'c'] },
    })
  })

  test('refuses words too few and too many, and flags that it does not know, with a sentence', () => {
    expect(fault(one({ args: '<id>' }), [])).toBe('<id> is missing.')
    expect(fault(one({ args: '<id>' }), ['a', 'b'])).toBe('"b" is one word too many.')
    expect(fault(one({}), ['a'])).toBe('"a" is one word too many.')
    expect(fault(one({ args: '<id>…' }), ['a', 'b', 'c'])).toBeUndefined()
    const flags = { name: { type: 'string', help: '' }, yes: { type: 'boolean', help: '' } } as const
    const needs = '--name needs a value; one that begins with a dash is written --name=-….'
    expect(fault(one({ flags }), ['--nam', 'x'])).toBe('There is no flag --nam.')
    expect(fault(one({ flags }), ['--name'])).toBe(needs)
    expect(fault(one({ flags }), ['--name', '-x'])).toBe(needs)
    expect(fault(one({ flags }), ['--yes=no'])).toBe('--yes takes no value.')
    expect(fault(one({ flags }), ['-n'])).toBe('There is no flag -n.')
  })
})

describe('the table of commands', () => {
  test('has each once, and help for each: what it does, every flag, an example that it understands', () => {
    expect(new Set(commands.map(({ name }) => name)).size).toBe(commands.length)
    for (const each of commands) {
      const help = commandHelp(each)
      expect(help).toContain(each.summary)
      for (const flag of Object.keys(each.flags ?? {})) expect(help).toContain(`--${flag}`)
      if (each.example === undefined)
        expect(each.name).toMatch(/^(start|api|worker|smtp|migrate|eval-bounces)$/)
      else {
        const words = wordsOf(each.example)
        const found = findCommand(commands, words)
        expect(found?.command).toBe(each)
        expect(() => readArguments(each, found!.rest)).not.toThrow()
      }
    }
  })

  test('is told whole, and group by group', () => {
    for (const each of commands) {
      const [first = '', second] = each.name.split(' ')
      expect(overview(commands)).toMatch(new RegExp(`^  ${first} .*${second ?? ''}`, 'm'))
      expect(groupHelp(commands, first)).toContain(titleOf(each))
    }
    expect(groupHelp(commands, 'nothing')).toBeNull()
  })
})

/** As a shell does it, for what the examples have: quotes, and > at the end. */
const wordsOf = (line: string) =>
  [...line.replace(/ >.*/, '').matchAll(/'([^']*)'|(\S+)/g)].map(([, quoted, bare]) => quoted ?? bare ?? '')
