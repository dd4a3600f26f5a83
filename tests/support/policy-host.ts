/** A real HTTPS server on loopback in the place of `mta-sts.<domain>`, with a certificate from an authority of its own, or a given one. */
import { once } from 'node:events'
import type { RequestListener } from 'node:http'
import https from 'node:https'
import { type Issued, issueAuthority, issueServer } from './issue-certificate.ts'
import { freePort } from './ports.ts'

export interface PolicyHost {
  port: number
  /** The authority to trust, PEM. */
  ca: string
  /** What it answers from now on. */
  answer: RequestListener
  /** Hosts and paths that were asked for, in order. */
  requests: string[]
  close(): void
}

/** @param at 127.0.0.1 and a free port, when absent; port 443 is root's */
export async function startPolicyHost(
  names: string[],
  certificate?: Issued,
  at?: { host: string; port: number },
): Promise<PolicyHost> {
  const authority = await issueAuthority('Policy authority')
  const issued = certificate ?? (await issueServer(names, { issuer: authority }))
  const { host: address, port } = at ?? { host: '127.0.0.1', port: await freePort() }
  const host: PolicyHost = {
    port,
    ca: authority.cert,
    answer: (_, response) => response.writeHead(404).end(),
    requests: [],
    close: () => {
      server.closeAllConnections()
      server.close()
    },
  }
  const server = https.createServer({ key: issued.key, cert: issued.cert }, (request, response) => {
    host.requests.push(`${request.method} ${request.headers.host?.replace(`:${port}`, '')}${request.url}`)
    host.answer(request, response)
  })
  server.listen(port, address)
  await once(server, 'listening')
  return host
}

/** What a policy host that does right answers. */
export function policyAnswer(text: string, contentType = 'text/plain'): RequestListener {
  return (_, response) => response.writeHead(200, { 'content-type': contentType }).end(text)
}

/** The text of a policy. */
export function policyText(mode: string, mx: string[], maxAgeSeconds = 604_800): string {
  const lines = [
    'version: STSv1',
    `mode: ${mode}`,
    ...mx.map((name) => `mx: ${name}`),
    `max_age: ${maxAgeSeconds}`,
  ]
  return lines.map((line) => `${line}\r\n`).join('')
}
