import type { MessageInput } from '@valija/core'
import { describe, expectTypeOf, test } from 'vitest'
import type { MessageInputShape } from './message-input.ts'

describe('MessageInput', () => {
  test('the schema lets through exactly what the product’s rules expect', () => {
    expectTypeOf<MessageInputShape>().toExtend<MessageInput>()
    expectTypeOf<MessageInput>().toExtend<MessageInputShape>()
    expectTypeOf<keyof MessageInputShape>().toEqualTypeOf<keyof MessageInput>()
  })
})
