import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { encodeBody } from '@valija/store'
import { expect, test } from 'vitest'
import { ComposeError, composeStored, orComposeError } from './compositions.ts'

test('a body that cannot be read is a fault of the mail, of which the worker is told', async () => {
  const body = encodeBody({ kind: 'raw', bytes: Buffer.from('Subject: x\r\n\r\n'), needsSmtpUtf8: false })
  const damaged = [body.subarray(0, 8), body.subarray(0, 3), Buffer.from('?'), body.fill(7, 5)]
  for (const blob of damaged) await expect(composeStored(blob, '')).rejects.toThrow(ComposeError)
})

test.each([
  ['a file that is not there', () => readFileSync(new URL('no-such-file', import.meta.url))],
  ['a package that is being replaced', () => createRequire(import.meta.url)('no-such-package')],
  ['a module that is being replaced', () => import(new URL('no-such-module.ts', import.meta.url).href)],
  ['memory that is not to be had', () => new ArrayBuffer(Number.MAX_SAFE_INTEGER)],
])('%s says nothing of the mail that is composed: the error passes', async (_, work) => {
  const error = await orComposeError(work).catch((thrown: unknown) => thrown)
  expect(error).toBeInstanceOf(Error)
  expect(error).not.toBeInstanceOf(ComposeError)
})
