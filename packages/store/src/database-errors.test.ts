import { ProductError } from '@valija/core'
import { describe, expect, test } from 'vitest'
import { asProductError, isDataError, isPassingDatabaseError, isStatementTimeout } from './database-errors.ts'

const failed = (code: string) => Object.assign(new Error('it failed'), { code })

describe('the same statement can succeed later', () => {
  test.each([
    ['08006', 'the connection is gone'],
    ['25006', 'the server only reads: it is about to be promoted, or was just demoted'],
    ['25P02', 'an earlier error had ended the transaction'],
    ['40P01', 'a deadlock'],
    ['53300', 'too many connections'],
    ['54001', 'the stack was too small'],
    ['57014', 'the statement took too long'],
    ['57P01', 'the server shuts down'],
    ['XX000', 'a fault inside PostgreSQL'],
    ['XX001', 'a damaged page'],
    ['EADDRNOTAVAIL', 'no local port is free'],
    ['ECONNABORTED', 'the network gave up'],
    ['ECONNREFUSED', 'nobody listens'],
    ['EHOSTDOWN', 'the host is down'],
    ['EMFILE', 'this process has too many files open'],
    ['ENFILE', 'this machine has too many files open'],
  ])('after %s: %s', (code) => {
    expect(isPassingDatabaseError(failed(code))).toBe(true)
    expect(isDataError(failed(code))).toBe(false)
    expect(asProductError(failed(code))).toMatchObject({ code: 'database_unavailable' })
    expect(asProductError(failed(code))).toBeInstanceOf(ProductError)
  })

  test('not after a mistake in the statement, which stays what it is', () => {
    for (const code of ['42601', '42P01', '42501', '0A000']) {
      const error = failed(code)
      expect(isPassingDatabaseError(error)).toBe(false)
      expect(asProductError(error)).toBe(error)
    }
  })
})

test.each([
  ['22021', 'a text that is no UTF-8'],
  ['23505', 'a key that exists'],
  ['54000', 'a value too large for its index'],
])('%s (%s) is the fault of one item, and does not pass', (code) => {
  expect(isDataError(failed(code))).toBe(true)
  expect(isPassingDatabaseError(failed(code))).toBe(false)
})

/** What Prisma makes of an error under a statement that was written by hand. */
const wrapped = (originalCode: string) =>
  Object.assign(new Error('Raw query failed'), {
    code: 'P2010',
    meta: { driverAdapterError: { cause: { originalCode } } },
  })

test('Prisma’s word for any failure of hand-made SQL is judged by what PostgreSQL said', () => {
  expect(isPassingDatabaseError(wrapped('40P01'))).toBe(true)
  expect(isPassingDatabaseError(wrapped('42601'))).toBe(false)
  expect(isDataError(wrapped('22021'))).toBe(true)
  expect(isPassingDatabaseError(failed('P2010'))).toBe(false)
})

test.each([
  ['what PostgreSQL ended', failed('57014'), true],
  ['what was waited for long enough', new Error('Query read timeout'), true],
  ['a server that shuts down', failed('57P01'), false],
  ['no connection in time', new Error('timeout exceeded when trying to connect'), false],
])('a statement took too long: %s', (_, error, isIt) => {
  expect(isStatementTimeout(error)).toBe(isIt)
})
