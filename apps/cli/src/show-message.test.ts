/** Attempts as people see them. */
import type { Attempt } from '@valija/client'
import { expect, test } from 'vitest'
import { attemptColumns, transcriptText } from './show-message.ts'

const attempt = (fields: Partial<Attempt>) =>
  ({ number: 1, host: 'mx.example.org', port: 25, transcript: [], ...fields }) as Attempt

test('a host is told with its port, where there was one', () => {
  expect(attemptColumns.host?.(attempt({}))).toBe('mx.example.org:25')
  expect(attemptColumns.host?.(attempt({ host: 'simulator.valija.test', port: null }))).toBe(
    'simulator.valija.test',
  )
  expect(attemptColumns.host?.(attempt({ host: null, port: null }))).toBeNull()
})

test('a transcript has a line for each line of the conversation, and one that says so when none was held', () => {
  const transcript: Attempt['transcript'] = [
    { t_ms: 1.2, from: 'server', line: '220 ready' },
    { t_ms: 12, from: 'client', line: 'EHLO\ta' },
  ]
  expect(transcriptText(attempt({ transcript }))).toBe(
    '\nattempt 1, mx.example.org\n     1 ms < 220 ready\n    12 ms > EHLO a\n',
  )
  expect(transcriptText(attempt({ host: null }))).toMatch(
    /nobody was reached\n +no SMTP conversation was held\n$/,
  )
})
