/**
 * POST /send/batch: accepts up to a thousand messages in one commit. Strict: all of them, or none and all that is wrong with them.
 * Permissive: each gets an answer of its own, in order.
 */
import { invalidRequest, ProductError } from '@valija/core'
import { placeInBatch, type SendAnswer } from '@valija/flows'
import type { FastifyRequest, FastifySchemaCompiler } from 'fastify'
import { Type } from 'typebox'
import { batchAnswerMs } from '../../answer-in-time.ts'
import { maxBodyBytes } from '../../body-limits.ts'
import { Problem, toProblem } from '../../problem.ts'
import { callerOf, problems, type RoutePlugin, ref, strictObject, takeBody } from '../../route.ts'
import { BatchFrame, BatchInput, BatchMessageInput } from '../../schemas/batch-input.ts'
import type { Validator } from '../../validators.ts'
import { readBatch } from './batch-entries.ts'
import { AcceptedMessage } from './schemas.ts'

const replayed = {
  'Idempotency-Replayed': Type.Enum(['true'], {
    description: 'Present when every message has the stored answer of an earlier request.',
  }),
}

const summary = 'Send up to 1,000 messages'
const description = `Answered when the messages are stored durably, in one commit. \`strict\`: all are accepted, or none, and \`errors\` names what is wrong with each (\`/messages/3/to\`). \`permissive\`: each has a result or a problem, in order.

There is no \`Idempotency-Key\` of the request: give each message an \`idempotency_key\`. Then a batch whose answer was lost is repeated as it was: what was accepted has its stored answer.`

export const sendBatch: RoutePlugin = (app, { sendDesk, options }) => {
  const compile = app.validatorCompiler as FastifySchemaCompiler<object>
  const place = { method: 'POST', url: '/send/batch', httpPart: 'body' }
  const validate = compile({ ...place, schema: ref(BatchMessageInput) }) as Validator
  app.post(
    '/send/batch',
    {
      config: { scope: 'send', answerWithinMs: batchAnswerMs },
      bodyLimit: maxBodyBytes(options.maxMessageSizeBytes),
      // Described as it is, and judged message by message.
      validatorCompiler: (route) =>
        compile(
          route.httpPart === 'body'
            ? { ...route, schema: BatchFrame }
            : (route as typeof place & { schema: object }),
        ),
      schema: {
        operationId: 'sendBatch',
        summary,
        description,
        tags: ['Messages'],
        querystring: strictObject({
          mode: Type.Optional(Type.Enum(['strict', 'permissive'], { default: 'strict' })),
        }),
        body: ref(BatchInput),
        response: {
          200: {
            description: 'Permissive: what became of each message, in order.',
            headers: replayed,
            content: {
              'application/json': {
                schema: Type.Object({
                  data: Type.Array(
                    Type.Union([
                      Type.Object({ status: Type.Literal(202), message: ref(AcceptedMessage) }),
                      Type.Object({ status: Type.Integer(), problem: ref(Problem) }),
                    ]),
                  ),
                }),
              },
            },
          },
          202: {
            description: 'Strict: all are accepted, in order.',
            headers: replayed,
            content: {
              'application/json': { schema: Type.Object({ data: Type.Array(ref(AcceptedMessage)) }) },
            },
          },
          ...problems(400, 409, 413, 415),
        },
      },
    },
    async (request, reply) => {
      refuseKey(request)
      const isStrict = request.query.mode !== 'permissive'
      const entries = await readBatch(takeBody(request).messages, validate)
      const how = { isStrict, answerByMs: request.answerByMs }
      const answers = await sendDesk.sendBatch(callerOf(request), entries, how)
      if (answers.every((answer) => !(answer instanceof ProductError) && answer.isReplay))
        reply.header('idempotency-replayed', 'true')
      const texts = answers.map((answer, index) => toText(answer, index, isStrict, request.id))
      return reply
        .code(isStrict ? 202 : 200)
        .type('application/json; charset=utf-8')
        .send(`{"data":[${texts.join(',')}]}` as never)
    },
  )
}

/** A message's answer is the text that the accept transaction stored, so it is not serialised again. */
function toText(
  answer: SendAnswer | ProductError,
  index: number,
  isStrict: boolean,
  requestId: string,
): string {
  if (answer instanceof ProductError) {
    const problem = toProblem(placeInBatch(answer, index), requestId)
    return JSON.stringify({ status: problem.status, problem })
  }
  return isStrict ? answer.body : `{"status":202,"message":${answer.body}}`
}

/** One key for all could not say which of its messages were accepted: those that a permissive batch had refused may come again. */
function refuseKey({ headers }: FastifyRequest): void {
  if (headers['idempotency-key'] === undefined) return
  const message = 'Is not taken here. Give each message an idempotency_key of its own.'
  throw invalidRequest([{ path: 'Idempotency-Key', message }])
}
