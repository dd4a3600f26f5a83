/** Shows the two checks of package-lock.json red: a package that is missing, and one below its advisory floor. */
import { describe, expect, it } from 'vitest'
import { checkFloors, isBelow } from './check-floors.ts'
import { lockComplaints } from './check-lock.ts'

describe('lock', () => {
  it('reports what npm misses in it', () => {
    const output = [
      'npm error `npm ci` can only install packages when your package.json and package-lock.json are in sync.',
      'npm error Missing: @biomejs/cli-darwin-arm64@2.6.0 from lock file',
      "npm error Invalid: lock file's pg@8.0.0 does not satisfy pg@8.23.1",
    ].join('\n')
    expect(lockComplaints(output)).toEqual([
      'Missing: @biomejs/cli-darwin-arm64@2.6.0 from lock file',
      "Invalid: lock file's pg@8.0.0 does not satisfy pg@8.23.1",
    ])
  })

  it('reports nothing for a complete one', () => {
    expect(lockComplaints('npm warn EBADENGINE\n\nup to date in 1s\n')).toEqual([])
  })
})

describe('floors', () => {
  const floors = { fastify: { minimum: '5.12.3', advisories: ['GHSA-x'] } }
  const messagesFor = (packages: Parameters<typeof checkFloors>[1]) =>
    checkFloors(floors, packages).map(({ message }) => message)

  it('refuse a version below them, nested copies and aliases included', () => {
    const version = '5.12.2'
    expect(messagesFor({ 'node_modules/fastify': { version } })).toEqual([
      'node_modules/fastify is 5.12.2, below 5.12.3 (GHSA-x)',
    ])
    expect(messagesFor({ 'apps/api/node_modules/fastify': { version } })).toHaveLength(1)
    expect(messagesFor({ 'node_modules/web': { version, name: 'fastify' } })).toHaveLength(1)
  })

  it('pass the floor itself, later versions, links and other packages', () => {
    expect(messagesFor({ 'node_modules/fastify': { version: '5.12.3' } })).toEqual([])
    expect(messagesFor({ 'node_modules/fastify': { version: '6.0.0' } })).toEqual([])
    expect(
      messagesFor({ 'node_modules/fastify': {}, 'node_modules/constructor': { version: '0.0.1' } }),
    ).toEqual([])
  })

  it.each([
    ['1.2.3', '1.2.4', true],
    ['1.9.0', '1.10.0', true],
    ['2.0.0', '1.10.0', false],
    ['1.2.3-beta.1', '1.2.3', true],
    ['1.2.3', '1.2.3-beta.1', false],
  ])('order versions by number: %s below %s is %s', (version, minimum, expected) => {
    expect(isBelow(version, minimum)).toBe(expected)
  })
})
