/**
 * Our own measuring programs as processes of their own (sink, load, the systems to compare with): each answers questions over
 * Node's IPC channel, one handler per kind of question. The parent's end of the channel is the program's end.
 */
import { type ChildProcess, fork } from 'node:child_process'
import path from 'node:path'

export interface Program {
  pid: number
  /** Asks one question; rejects with what the handler threw, or when the program ends first. */
  ask<T>(kind: string, input?: object): Promise<T>
  end(): Promise<void>
  /** Resolves with its exit code or signal when it has ended, asked to or not. */
  readonly ended: Promise<number | string>
}

type Question = { id: number; kind: string; input: object }
type Answer = { id: number; value?: unknown; error?: string }

/** Starts a file of this folder. */
export function startProgram(file: string, args: readonly string[] = []): Program {
  const child = fork(path.join(import.meta.dirname, file), [...args], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    // Typed arrays arrive as such.
    serialization: 'advanced',
  })
  const open = new Map<number, PromiseWithResolvers<unknown>>()
  const ended = Promise.withResolvers<number | string>()
  let lastId = 0
  child.on('message', (answer: Answer) => {
    const question = open.get(answer.id)
    open.delete(answer.id)
    if (answer.error === undefined) question?.resolve(answer.value)
    else question?.reject(new Error(`${file}: ${answer.error}`))
  })
  child.once('exit', (code, signal) => {
    for (const question of open.values()) question.reject(new Error(`${file} ended (${code ?? signal})`))
    open.clear()
    ended.resolve(code ?? signal ?? '')
  })
  return {
    pid: child.pid ?? 0,
    ask: <T>(kind: string, input: object = {}) => ask<T>(child, open, { id: ++lastId, kind, input }),
    end: async () => {
      if (child.connected) child.disconnect()
      await ended.promise
    },
    ended: ended.promise,
  }
}

function ask<T>(
  child: ChildProcess,
  open: Map<number, PromiseWithResolvers<unknown>>,
  question: Question,
): Promise<T> {
  const waiting = Promise.withResolvers<unknown>()
  open.set(question.id, waiting)
  if (child.connected) child.send(question)
  else waiting.reject(new Error('the program has ended'))
  return waiting.promise as Promise<T>
}

/** In the program: answers questions until the parent lets go. */
export function answerQuestions(handlers: Record<string, (input: never) => unknown>): void {
  process.on('message', ({ id, kind, input }: Question) => {
    void Promise.try(() => {
      const handler = handlers[kind]
      if (handler === undefined) throw new Error(`no such question: ${kind}`)
      return handler(input as never)
    }).then(
      (value) => process.send?.({ id, value } satisfies Answer),
      (error: Error) => process.send?.({ id, error: error.message } satisfies Answer),
    )
  })
  process.once('disconnect', () => process.exit(0))
}

/** The system's monotonic clock in milliseconds: the same for all processes of the machine. */
export function monotonicMs(): number {
  return Number(process.hrtime.bigint()) / 1e6
}
