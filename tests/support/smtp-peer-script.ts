/** What a scripted SMTP peer (smtp-peer.ts) can be told to do, and what it does otherwise. */
import type { TlsOptions } from 'node:tls'

/** Where in a session; `body` is the reply to the final dot, `unknown` any other command. */
export type Phase =
  | 'connect'
  | 'ehlo'
  | 'helo'
  | 'starttls'
  | 'auth'
  | 'mail'
  | 'rcpt'
  | 'data'
  | 'body'
  | 'rset'
  | 'noop'
  | 'vrfy'
  | 'quit'
  | 'unknown'

/** How a connection ends: by RST or by FIN. */
export type Cut = 'reset' | 'close'

/** What the peer does. Lines of a reply are parted by \n and sent as they are, with CRLF. */
export type Reaction =
  | string
  | { act: 'silence' }
  | { act: 'drop'; reply?: string }
  | { act: 'after'; ms: number; reply: string }
  | { act: 'when'; signal: Promise<unknown>; reply: string }
  | { act: 'drip'; msPerByte: number; reply: string }
  | { act: 'raw'; octets: string; cut?: Cut }
  | { act: 'flood'; octets: string; bytes: number }
  | { act: 'vanish'; cut: Cut }

/** Never answers, and keeps the connection open. */
export const silence = (): Reaction => ({ act: 'silence' })
/** Cuts the connection by a reset; where a reply is given, after it and by a plain end. */
export const drop = (reply?: string): Reaction => ({ act: 'drop', ...(reply === undefined ? {} : { reply }) })
/** Answers late. */
export const after = (ms: number, reply: string): Reaction => ({ act: 'after', ms, reply })
/** Answers once the test says so. */
export const when = (signal: Promise<unknown>, reply: string): Reaction => ({ act: 'when', signal, reply })
/** Answers byte by byte, so that no idle time-out is ever reached. */
export const drip = (msPerByte: number, reply: string): Reaction => ({ act: 'drip', msPerByte, reply })
/** These octets (latin1) and no CRLF behind them; then, where asked for, the end of the connection. */
export const raw = (octets: string, cut?: Cut): Reaction => ({
  act: 'raw',
  octets,
  ...(cut === undefined ? {} : { cut }),
})
/** The same octets over and over, until so many are out or the other side is gone. */
export const flood = (octets: string, bytes: number): Reaction => ({ act: 'flood', octets, bytes })
/** At `body`: the mail is taken and kept, and the connection ends before a word of that is said. */
export const vanish = (cut: Cut): Reaction => ({ act: 'vanish', cut })

export type Moment = {
  /** Number of the session, from 1. */
  session: number
  /** The whole command line without CRLF, and what follows the verb. */
  line: string
  argument: string
  /** The envelope so far. */
  from: string | null
  to: string[]
  isEncrypted: boolean
}

/** Undefined means the usual answer. */
export type Rule = Reaction | Reaction[] | ((moment: Moment) => Reaction | undefined)

export type Script = Partial<Record<Phase, Rule>> & {
  /** Cuts the connection once this many bytes of a body have come (dots and all). */
  dropInBodyAfterBytes?: number
  /** How that is done; a reset when absent. */
  bodyCut?: Cut
  /** For STARTTLS: another certificate, other versions. */
  tls?: TlsOptions
  /** What comes in the place of a handshake, after the reply to STARTTLS. */
  handshake?: 'garbage' | Cut
}

/** EHLO keywords, unless the options give others. */
export const EXTENSIONS = ['PIPELINING', 'SIZE 52428800', '8BITMIME', 'SMTPUTF8', 'ENHANCEDSTATUSCODES']

/** What a peer without a script answers. */
export const USUAL: Record<Phase, string> = {
  connect: '220 mx.example.test ESMTP',
  ehlo: '250 mx.example.test',
  helo: '250 mx.example.test',
  starttls: '220 2.0.0 go ahead',
  auth: '235 2.7.0 authenticated',
  mail: '250 2.1.0 sender ok',
  rcpt: '250 2.1.5 recipient ok',
  data: '354 end with a dot',
  body: '250 2.0.0 taken',
  rset: '250 2.0.0 reset',
  noop: '250 2.0.0 ok',
  vrfy: '252 2.5.2 send some mail',
  quit: '221 2.0.0 bye',
  unknown: '500 5.5.2 no such command',
}

export const VERBS: Record<string, Phase> = {
  EHLO: 'ehlo',
  HELO: 'helo',
  STARTTLS: 'starttls',
  AUTH: 'auth',
  MAIL: 'mail',
  RCPT: 'rcpt',
  DATA: 'data',
  RSET: 'rset',
  NOOP: 'noop',
  VRFY: 'vrfy',
  QUIT: 'quit',
}
