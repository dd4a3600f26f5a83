/** Which API the command line gives which key. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import os from 'node:os'
import path from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, expect, test } from 'vitest'

const program = fileURLToPath(new URL('./main.ts', import.meta.url))

let folder: string
let url: string
let keys: (string | undefined)[]
let server: http.Server
beforeEach(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), 'valija-api-client-'))
  keys = []
  server = http.createServer((request, response) => {
    keys.push(request.headers.authorization)
    response.writeHead(403).end()
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})
afterEach(async () => {
  server.close()
  server.closeAllConnections()
  await rm(folder, { recursive: true })
})

/** @returns what `valija queue` says when it is run with the operator's key */
async function askQueue(publicUrl: string, ...flags: string[]): Promise<string> {
  const child = spawn(process.execPath, [program, 'queue', '--url', `${url}/mail`, ...flags], {
    cwd: folder,
    env: { VALIJA_ADMIN_KEY: 'the-operators', VALIJA_PUBLIC_URL: publicUrl },
  })
  return await text(child.stderr)
}

test('VALIJA_ADMIN_KEY is given to the API of VALIJA_PUBLIC_URL, and to no other, over no other scheme', async () => {
  expect(await askQueue('https://mail.acme.example')).toBe(
    'valija: Say with which key by --key or --key-file: VALIJA_ADMIN_KEY is given only to VALIJA_PUBLIC_URL, https://mail.acme.example, and to the npm start that runs here.\n',
  )
  await askQueue(url.replace('http:', 'https:'))
  expect(keys).toEqual([])
  await askQueue(url)
  await askQueue('https://mail.acme.example', '--key', 'another')
  expect(keys).toEqual(['Bearer the-operators', 'Bearer another'])
})
