/** Every documented error code is produced by a test of an endpoint, or end to end. */
import { globSync, readFileSync } from 'node:fs'
import { errorCatalogue } from '@valija/core'
import { expect, test } from 'vitest'

const files = [...globSync('apps/api/src/**/*.db.test.ts'), ...globSync('tests/t-*.test.ts')]
const tests = files.map((file) => readFileSync(file, 'utf8')).join('\n')

test.each(Object.keys(errorCatalogue))('%s', (code) => {
  expect(tests).toContain(`'${code}'`)
})
