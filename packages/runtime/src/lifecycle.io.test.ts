import path from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { type Running, startProcess } from '../../../tests/support/processes.ts'

const face = path.join(import.meta.dirname, 'index.ts')

/** A process whose start is the given code, with `life` and `say` at hand. It says "ready" when it is. */
function run(start: string, options = 'drainLimitMs: 60_000'): Running {
  const script = `
    import { createLogger, runUntilSignal } from ${JSON.stringify(face)}
    const say = (text) => process.stdout.write(text + '\\n')
    const step = (name, stop = () => {}, hurry) => ({ name, stop: () => { say('stopping ' + name); return stop() }, hurry })
    await runUntilSignal({
      log: createLogger({ level: 'info', name: 'test' }),
      onReady: () => say('ready'),
      start: async (life) => { ${start} },
      ${options}
    })`
  const running = startProcess(process.execPath, ['--input-type=module', '--eval', script])
  onTestFinished(() => running.kill())
  return running
}

const said = ({ lines }: Running) => lines.filter((line) => !line.startsWith('{'))

describe('a process', () => {
  test.each(['SIGTERM', 'SIGINT', 'SIGHUP'] as const)(
    'drains in reverse at %s and exits with 0',
    async (signal) => {
      const running = run(`for (const name of ['postgres', 'worker', 'http']) life.onStop(step(name))`)
      await running.line('ready')
      running.signal(signal)
      expect(await running.ended).toEqual({ code: 0, signal: null })
      expect(said(running)).toEqual(['ready', 'stopping http', 'stopping worker', 'stopping postgres'])
    },
  )

  test('takes two signals within a second for one', async () => {
    const running = run(
      `life.onStop(step('http', () => new Promise((done) => setTimeout(done, 300)), () => say('hurried')))`,
    )
    await running.line('ready')
    running.signal('SIGINT')
    await running.line('stopping http')
    running.signal('SIGINT')
    running.signal('SIGTERM')
    expect(await running.ended).toEqual({ code: 0, signal: null })
    expect(said(running)).not.toContain('hurried')
  })

  test('hurries at a later second signal', async () => {
    const running = run(`
      const { promise, resolve } = Promise.withResolvers()
      life.onStop(step('http', () => { setTimeout(() => say('a second has passed'), 1100); return promise }, () => { say('hurried'); resolve() }))`)
    await running.line('ready')
    running.signal('SIGTERM')
    await running.line('a second has passed')
    running.signal('SIGTERM')
    expect(await running.ended).toEqual({ code: 0, signal: null })
    expect(said(running)).toContain('hurried')
  })

  test('hurries by itself when its time to drain is nearly over', async () => {
    const running = run(
      `const { promise, resolve } = Promise.withResolvers()
      life.onStop(step('postgres'))
      life.onStop(step('http', () => promise, () => { say('hurried'); resolve() }))`,
      'drainLimitMs: 1000',
    )
    await running.line('ready')
    running.signal('SIGTERM')
    expect(await running.ended).toEqual({ code: 0, signal: null })
    expect(said(running)).toEqual(['ready', 'stopping http', 'hurried', 'stopping postgres'])
  })

  test('is cut off at the drain limit, exit 1', async () => {
    const running = run(`life.onStop(step('http', () => new Promise(() => {})))`, 'drainLimitMs: 100')
    await running.line('ready')
    running.signal('SIGTERM')
    expect(await running.ended).toEqual({ code: 1, signal: null })
  })

  test('one limit is for both, a start that hangs and what has started by then', async () => {
    const running = run(
      `life.onStop(step('http', () => new Promise(() => {}))); say('starting'); await new Promise(() => {})`,
      'drainLimitMs: 1000',
    )
    await running.line('starting')
    running.signal('SIGTERM')
    expect(await running.ended).toEqual({ code: 1, signal: null })
    const { limitMs } = JSON.parse(await running.line('not everything stopped in time'))
    expect(limitMs).toBeLessThanOrEqual(500)
  })

  test('says one sentence when its start fails, stops what had started, exit 1', async () => {
    const running = run(`life.onStop(step('postgres')); throw new Error('The port 3000 is taken.')`)
    expect(await running.ended).toEqual({ code: 1, signal: null })
    expect(running.lines.sort()).toEqual(['stopping postgres', 'valija: The port 3000 is taken.'])
  })

  test('that is told to stop while it starts does not become ready', async () => {
    const running = run(`
      life.onStop(step('postgres'))
      say('starting')
      await new Promise((done) => life.stopping.addEventListener('abort', done))`)
    await running.line('starting')
    running.signal('SIGTERM')
    expect(await running.ended).toEqual({ code: 0, signal: null })
    expect(said(running)).toEqual(['starting', 'stopping postgres'])
  })

  test('drains and exits with 1 when a part of it fails', async () => {
    const running = run(
      `life.onStop(step('http')); setTimeout(() => life.fail(new Error('PostgreSQL has ended')), 50)`,
    )
    expect(await running.ended).toEqual({ code: 1, signal: null })
    expect(said(running)).toContain('stopping http')
    expect(running.lines.join('\n')).toContain('PostgreSQL has ended')
  })

  test('exits with 1 when a step fails, after the other steps', async () => {
    const running = run(`
      life.onStop(step('postgres'))
      life.onStop(step('http', () => { throw new Error('stuck') }))`)
    await running.line('ready')
    running.signal('SIGTERM')
    expect(await running.ended).toEqual({ code: 1, signal: null })
    expect(said(running)).toEqual(['ready', 'stopping http', 'stopping postgres'])
    expect(running.lines.join('\n')).toContain('stuck')
  })

  test.each([
    ['an uncaught error', `setTimeout(() => { throw new Error('unforeseen') }, 50)`],
    ['an unhandled rejection', `setTimeout(() => { Promise.reject(new Error('unforeseen')) }, 50)`],
  ])('logs %s and exits with 1', async (_what, start) => {
    const running = run(start)
    expect(await running.ended).toEqual({ code: 1, signal: null })
    expect(running.lines.join('\n')).toContain('unforeseen')
  })
})
