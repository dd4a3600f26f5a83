/**
 * Follows an SMTP conversation by what is written and what is answered, and holds it to total deadlines.
 *
 * Whoever speaks SMTP reports each command before it is written and each complete reply before it acts on it. From the two
 * this file knows at any time which step waits for a reply (several with PIPELINING, RFC 2920), so that a reply is judged as
 * the answer to the right command, and a lost connection or a passed deadline is blamed on the right phase.
 */
import type { Phase, TimingsMs } from '@valija/core'
import { parseSmtpReply, type SmtpReply } from '@valija/mail'
import type { PhaseDeadlines } from './session.ts'
import type { Transcript } from './transcript.ts'

/** What we may be waiting for. `handshake` and `body` wait for no reply, `reset` and `quit` are about no mail. */
export type Step =
  | 'greeting'
  | 'ehlo'
  | 'starttls'
  | 'handshake'
  | 'auth'
  | 'mail'
  | 'rcpt'
  | 'data'
  | 'body'
  /** BDAT, but the last (RFC 3030 §2). */
  | 'chunk'
  | 'dot'
  | 'reset'
  | 'quit'

const phaseOfStep: Record<Step, Phase> = {
  greeting: 'greeting',
  ehlo: 'ehlo',
  starttls: 'tls',
  handshake: 'tls',
  auth: 'auth',
  mail: 'mail',
  rcpt: 'rcpt',
  data: 'data',
  body: 'body',
  chunk: 'body',
  dot: 'body',
  reset: 'mail',
  quit: 'mail',
}

type Part = 'tls' | 'ehlo' | 'envelope' | 'data'

/** Which duration of the report a step counts for. */
const timingOfStep: Record<Step, Part | null> = {
  greeting: 'ehlo',
  ehlo: 'ehlo',
  starttls: 'tls',
  handshake: 'tls',
  auth: 'ehlo',
  mail: 'envelope',
  rcpt: 'envelope',
  data: 'envelope',
  body: 'data',
  chunk: 'data',
  dot: 'data',
  reset: null,
  quit: null,
}

function noElapsed(): Record<Part, number> {
  return { tls: 0, ehlo: 0, envelope: 0, data: 0 }
}

/** The phase of the report that a step belongs to. */
export function phaseOf(step: Step | undefined): Phase {
  return phaseOfStep[step ?? 'mail']
}

/** What the peer said it can do in its last EHLO reply (RFC 5321 §4.1.1.1). */
export interface PeerFeatures {
  keywords: ReadonlySet<string>
  /** Octets (RFC 1870); 0 when there is no limit or none was said. */
  maxSizeBytes: number
}

/** A reply as the listener gets it. */
export interface HeardReply {
  step: Step
  /** Null when it is not SMTP. */
  reply: SmtpReply | null
  /** The first line as it came, at most 200 characters, for the failure's detail. */
  firstLine: string
  /** The lines carry different codes: whoever reads only the first one takes it for something else. */
  hasMixedCodes: boolean
}

export interface DialogueListener {
  onReply(heard: HeardReply): void
  onDeadline(step: Step): void
  /** Bytes stood behind the reply to STARTTLS: somebody injects plaintext (RFC 3207 §6). */
  onInjection(): void
}

const noFeatures: PeerFeatures = { keywords: new Set(), maxSizeBytes: 0 }

export class Dialogue {
  readonly #deadlines: PhaseDeadlines
  readonly #listener: DialogueListener
  readonly #awaiting: Step[] = []
  /** One for the whole conversation: set anew only for an earlier deadline, or when it finds that there is time left. */
  #timer: NodeJS.Timeout | undefined
  #timerAt = 0
  #deadlineAt = Infinity
  #bodyBytes = 0
  #isInLogin = false
  #stepStartedAt = 0
  /** End of the opening's total deadline (`performance.now()`); no more once mail is said. */
  #openBy: number
  #elapsed = noElapsed()
  transcript: Transcript
  features: PeerFeatures = noFeatures

  constructor(deadlines: PhaseDeadlines, transcript: Transcript, listener: DialogueListener) {
    this.#deadlines = deadlines
    this.#openBy = performance.now() + deadlines.openMs
    this.transcript = transcript
    this.#listener = listener
  }

  /** The step that is waited for; undefined when nothing is. */
  get step(): Step | undefined {
    return this.#awaiting[0]
  }

  /** We now wait for a step besides those under way. */
  expect(step: Step): void {
    this.#awaiting.push(step)
    if (this.#awaiting.length === 1) this.#beginStep()
  }

  /** The step under way is over without a reply. */
  advance(): void {
    this.#shift()
    this.#beginStep()
  }

  /** Milliseconds spent in the steps since this was last asked for. */
  takeElapsed(): Pick<TimingsMs, Part> {
    const elapsed = this.#elapsed
    this.#elapsed = noElapsed()
    return elapsed
  }

  /** This many octets of the body are on their way; the next thing that counts is the end of them. */
  beginBody(sizeBytes: number): void {
    this.#bodyBytes = sizeBytes
    this.expect('body')
  }

  /** The end of the body is on its way: the step `body` is over and `dot` waits for the reply. */
  endBody(line: string): void {
    this.transcript.add('client', line)
    if (this.step === 'body') this.#shift()
    this.expect('dot')
  }

  /** A piece of the body that is answered by itself. */
  saidChunk(line: string, sizeBytes: number): void {
    this.#bodyBytes = sizeBytes
    this.said('chunk', line)
  }

  /** Nothing more will be said. */
  end(): void {
    this.#awaiting.length = 0
    this.#deadlineAt = Infinity
    clearTimeout(this.#timer)
    this.#timer = undefined
  }

  /** A command of a known step, before it is written. */
  said(step: Step, line: string): void {
    if (step === 'mail') this.#openBy = Infinity
    this.transcript.add('client', line)
    this.expect(step)
  }

  /** A command as the log of a client shows it, before it is written. */
  heardClient(line: string): void {
    const step = this.#stepOfCommand(line)
    if (this.step === 'handshake') this.#shift()
    this.said(step, step === 'auth' ? maskLogin(line) : line)
  }

  /** A complete reply, before it is acted on. */
  heardServer(lines: readonly string[]): void {
    for (const line of lines) this.transcript.add('server', line)
    const step = this.step
    if (step === undefined) return
    if (step === 'handshake') {
      this.#listener.onInjection()
      return
    }
    const reply = parseSmtpReply(lines)
    // The client may read the first line alone; the body's step ends only by what our own writer does.
    if (step !== 'body') this.#shift()
    if (step === 'ehlo' && reply !== null && reply.code < 300) this.features = readFeatures(lines)
    if (step === 'auth') this.#isInLogin = reply?.code === 334
    if (step === 'starttls' && reply?.code === 220) this.#awaiting.unshift('handshake')
    this.#beginStep()
    const [firstLine = ''] = lines
    this.#listener.onReply({
      step,
      reply,
      firstLine: firstLine.slice(0, 200),
      hasMixedCodes: lines.length > 1 && lines.some((line) => line.slice(0, 3) !== firstLine.slice(0, 3)),
    })
  }

  heardInjection(): void {
    this.#listener.onInjection()
  }

  #stepOfCommand(line: string): Step {
    // A base64 line of a login can look like any command.
    const verb = this.#isInLogin ? 'AUTH' : /^[A-Z]+(?= |$)/.exec(line)?.[0]
    if (verb === 'EHLO' || verb === 'HELO') return 'ehlo'
    if (verb === 'STARTTLS') return 'starttls'
    if (verb === 'MAIL') return 'mail'
    if (verb === 'RCPT') return 'rcpt'
    if (verb === 'DATA') return 'data'
    if (verb === 'QUIT') return 'quit'
    // A lone dot ends the empty mail that a peer accepted for nobody.
    if (verb === 'RSET' || line === '.') return 'reset'
    this.#isInLogin = true
    return 'auth'
  }

  #shift(): void {
    const step = this.#awaiting.shift()
    const now = performance.now()
    const part = step && timingOfStep[step]
    if (part) this.#elapsed[part] += now - this.#stepStartedAt
  }

  #beginStep(): void {
    const now = performance.now()
    this.#stepStartedAt = now
    const step = this.step
    this.#deadlineAt = step === undefined ? Infinity : Math.min(now + this.#deadlineOf(step), this.#openBy)
    if (step === undefined || (this.#timer !== undefined && this.#timerAt <= this.#deadlineAt)) return
    this.#setTimer(now)
  }

  #setTimer(now: number): void {
    clearTimeout(this.#timer)
    this.#timerAt = this.#deadlineAt
    this.#timer = setTimeout(() => this.#onTimer(), Math.max(0, this.#deadlineAt - now))
  }

  #onTimer(): void {
    this.#timer = undefined
    const step = this.step
    if (step === undefined) return
    const now = performance.now()
    // Timers count whole milliseconds.
    if (now + 1 >= this.#deadlineAt) this.#listener.onDeadline(step)
    else this.#setTimer(now)
  }

  #deadlineOf(step: Step): number {
    const d = this.#deadlines
    if (step === 'body' || step === 'chunk')
      return d.bodyMs + (this.#bodyBytes / 1_000_000) * d.bodyMsPerMegabyte
    if (step === 'starttls' || step === 'handshake') return d.tlsMs
    if (step === 'reset' || step === 'quit') return d.quitMs
    return d[`${step}Ms`]
  }
}

/** `AUTH PLAIN` keeps its mechanism; the rest of a login is nobody's to read. */
function maskLogin(line: string): string {
  const mechanism = /^AUTH [A-Z0-9-]+/.exec(line)?.[0]
  return mechanism === undefined ? '***' : line === mechanism ? mechanism : `${mechanism} ***`
}

function readFeatures(lines: readonly string[]): PeerFeatures {
  const keywords = new Set<string>()
  let maxSizeBytes = 0
  for (const line of lines.slice(1)) {
    const [keyword = '', parameter = ''] = line.slice(4).trim().toUpperCase().split(/\s+/, 2)
    keywords.add(keyword)
    if (keyword === 'SIZE' && /^\d{1,15}$/.test(parameter)) maxSizeBytes = Number(parameter)
  }
  return { keywords, maxSizeBytes }
}
