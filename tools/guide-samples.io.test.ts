/** The receivers of webhooks in docs/api-guide.md, run as they stand there: single events, batches, and what is not signed. */
import { readFileSync } from 'node:fs'
import { Webhook } from 'standardwebhooks'
import { expect, onTestFinished, test } from 'vitest'
import { freePort } from '../tests/support/ports.ts'
import { startProcess } from '../tests/support/processes.ts'
import { needsProgram, until } from '../tests/support/until.ts'

const guide = readFileSync(new URL('../docs/api-guide.md', import.meta.url), 'utf8')
const secret = `whsec_${Buffer.from('a secret of twenty-four b').toString('base64')}`

/** The fenced block of the language that listens at port 4000, at another port. */
function receiver(language: string, port: number): string {
  const blocks = guide.matchAll(new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\``, 'gms'))
  const found = [...blocks].map(([, text = '']) => text).filter((text) => text.includes('4000'))
  expect(found).toHaveLength(1)
  return `${found[0]}`.replaceAll('4000', `${port}`)
}

const event = (seq: number) => ({ type: 'message.delivered', data: { email: 'ann@example.org', seq } })

test.skipIf(needsProgram('python3')).each([
  ['js', process.execPath, ['--input-type=module', '--eval']],
  ['python', 'python3', ['-c']],
])('the receiver in %s', async (language, program, args) => {
  const port = await freePort()
  const running = startProcess(program, [...args, receiver(language, port)], {
    env: { WEBHOOK_SECRET: secret },
  })
  onTestFinished(() => running.kill())
  const tell = async (payload: unknown, signature?: string) => {
    const [id, now, body] = ['evt_1', new Date(), JSON.stringify(payload)]
    const headers = {
      'webhook-id': id,
      'webhook-timestamp': `${Math.floor(now.getTime() / 1000)}`,
      'webhook-signature': signature ?? new Webhook(secret).sign(id, now, body),
    }
    return (await fetch(`http://127.0.0.1:${port}/hooks`, { method: 'POST', body, headers })).status
  }
  await until('it listens', () => tell({}, 'v1,AAAA'))
  expect(await tell(event(1), 'v1,AAAA')).toBe(400)
  expect(await tell(event(2))).toBe(204)
  expect(await tell([event(3), event(4)])).toBe(204)
  expect(await tell({ type: 'webhook.disabled', data: {} })).toBe(204)
  await running.line('webhook.disabled')
  const told = running.lines.filter((line) => /^(message|webhook)\./.test(line)).map((line) => line.trim())
  expect(told).toEqual([
    ...[2, 3, 4].map((seq) => `message.delivered ann@example.org ${seq}`),
    'webhook.disabled',
  ])
})
