/** Answers what is not HTTP, or came too slowly: there is no request yet, only a socket. */
import type { Socket } from 'node:net'
import { ProductError } from '@valija/core'
import type { ConnectionError } from 'fastify'
import { toProblem } from './problem.ts'

const answers: Record<string, { status: string; detail: string }> = {
  ERR_HTTP_REQUEST_TIMEOUT: { status: '408 Request Timeout', detail: 'The request did not arrive in time.' },
  HPE_HEADER_OVERFLOW: { status: '431 Request Header Fields Too Large', detail: 'The header is too long.' },
  HPE_CHUNK_EXTENSIONS_OVERFLOW: {
    status: '413 Content Too Large',
    detail: 'The chunk extensions are too long.',
  },
}

/** For Fastify's `clientErrorHandler`. */
export function answerBrokenRequest(error: ConnectionError, socket: Socket): void {
  // The client went away, or an answer is being written already.
  if (error.code === 'ECONNRESET' || !socket.writable || socket.bytesWritten > 0) {
    socket.destroy()
    return
  }
  const { status, detail } = answers[error.code] ?? {
    status: '400 Bad Request',
    detail: 'This is not HTTP/1.1.',
  }
  const problem = {
    ...toProblem(new ProductError('invalid_request', { detail }), 'none'),
    status: Number.parseInt(status, 10),
  }
  const body = JSON.stringify(problem)
  socket.end(
    `HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Type: application/problem+json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  )
}
