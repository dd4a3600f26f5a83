import { expect, test } from 'vitest'
import { judgeConfiguration } from './configuration.ts'

const missing = { name: 'VALIJA_ADMIN_KEY', message: 'is required by valija api' }
const unknown = { name: 'VALIJA_PROT', message: 'there is no such variable' }

test('without faults it is well', () => {
  expect(judgeConfiguration([], [])).toMatchObject([{ name: 'configuration', status: 'ok', fix: null }])
})

test('every fault is one of its own, with the variable as its subject', () => {
  expect(judgeConfiguration([unknown, missing], [])).toMatchObject([
    {
      subject: 'VALIJA_PROT',
      status: 'failed',
      fix: expect.stringContaining('Correct VALIJA_PROT or remove it'),
    },
    { subject: 'VALIJA_ADMIN_KEY', status: 'failed', fix: expect.stringContaining('Set VALIJA_ADMIN_KEY') },
  ])
})

test('what only an API process needs is a warning', () => {
  expect(judgeConfiguration([unknown], [unknown, missing])).toMatchObject([
    { subject: 'VALIJA_PROT', status: 'failed' },
    { subject: 'VALIJA_ADMIN_KEY', status: 'warning' },
  ])
})
