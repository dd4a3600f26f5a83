/**
 * Thousands of generated mails, each composed by us and by nodemailer: two parsers that had no part in it find in both what was asked,
 * and two verifiers take the DKIM signatures of both.
 *
 * That bodies are the same octet by octet is `packages/mail/src/compose.differential.test.ts`; what either does with hostile input,
 * `compose.hostile.test.ts` beside it.
 */
import {
  type Composition,
  compose,
  type DkimKey,
  dkimRecordText,
  generateDkimKey,
  type Mailbox,
  signMail,
} from '@valija/mail'
import fc from 'fast-check'
import { beforeAll, describe, expect, test } from 'vitest'
import { bothPass, dkimVerifiers } from './support/dkim-verifiers.ts'
import { madeComposition, ownFieldNames } from './support/made-compositions.ts'
import { canonical, mailReaders, type ReadMail } from './support/mail-readers.ts'
import { composeByNodemailer, sentDisposition, sentType } from './support/nodemailer-composer.ts'
import { scaled, timeFor } from './support/scale.ts'

const count = scaled(3_000, 25)
/** So many at a time: what they hold is given to the other programs as one text. */
const portion = 250
const signedAt = new Date('2026-11-23T10:00:00Z')
const keys: DkimKey[] = []
const records: Record<string, string> = {}
/** The same each time. */
const compositions = fc.sample(madeComposition, { seed: 57, numRuns: count })
const composers = [
  { composer: 'ours', write: async (asked: Composition) => compose(asked), meant: (mail: ReadMail) => mail },
  { composer: 'nodemailer', write: composeByNodemailer, meant: asNodemailerMeans },
]

beforeAll(async () => {
  for (const algorithm of ['rsa', 'ed25519'] as const) {
    const { privateKey, publicKey } = await generateDkimKey(algorithm)
    keys.push({ domain: 'acme.test', selector: algorithm, algorithm, privateKey })
    records[`${algorithm}._domainkey.acme.test`] = dkimRecordText({ algorithm, publicKey })
  }
})

async function* inPortions(write: (asked: Composition) => Promise<Buffer>) {
  for (let at = 0; at < compositions.length; at += portion) {
    const asked = compositions.slice(at, at + portion)
    yield { asked, mails: await Promise.all(asked.map(write)) }
  }
}

const shown = ({ name, address }: Mailbox): [string, string] => [name ?? '', address.email]

/** What a reader should find. */
function wanted(asked: Composition): ReadMail {
  return canonical({
    ...{
      from: [shown(asked.from)],
      to: asked.to.map(shown),
      cc: asked.cc.map(shown),
      replyTo: asked.replyTo.map(shown),
    },
    subject: asked.subject,
    headers: asked.headers.map(([name, value]) => [name.toLowerCase(), value]),
    messageId: asked.messageId,
    dateMs: asked.date.getTime(),
    text: asked.text,
    html: asked.html,
    files: asked.attachments.map((file) => ({
      filename: file.filename,
      type: (sentType(file).split(';', 1)[0] ?? '').toLowerCase(),
      disposition: sentDisposition(file),
      contentId: file.contentId && `<${file.contentId.replace(/[<>]/g, '')}>`,
      content: file.content.toString('base64'),
    })),
  })
}

/**
 * The one difference: text that looks like an encoded word (RFC 2047) is encoded by us, and readers show it as it was given. nodemailer
 * lets it pass, and readers decode it.
 */
function asNodemailerMeans(mail: ReadMail): ReadMail {
  const decodedWord = (text: string) => text.replaceAll('=?utf-8?Q?a?=', 'a')
  const first = (pairs: ReadMail['to']) =>
    pairs.map(([name, email]) => [decodedWord(name), email] as [string, string])
  const { from, to, cc, replyTo, headers, subject } = mail
  return {
    ...mail,
    ...{ from: first(from), to: first(to), cc: first(cc), replyTo: first(replyTo) },
    headers: headers.map(([name, value]) => [name, decodedWord(value)]),
    subject: decodedWord(subject),
  }
}

describe.each(mailReaders())('$reader finds what was asked in', ({ isAbsent, read }) => {
  test.skipIf(isAbsent).for(composers)(
    `${count} mails of $composer`,
    { timeout: timeFor(120_000) },
    async ({ write, meant }) => {
      for await (const { asked, mails } of inPortions(write)) {
        const found = await read(mails, ownFieldNames)
        for (const [i, mail] of mails.entries())
          expect(found[i], mail.toString('latin1')).toEqual(meant(wanted(asked[i]!)))
      }
    },
  )
})

describe.each(dkimVerifiers())('$verifier takes both signatures of', ({ isAbsent, verify }) => {
  test.skipIf(isAbsent).for(composers)(
    `${count} mails of $composer`,
    { timeout: timeFor(120_000) },
    async ({ write }) => {
      for await (const { mails } of inPortions(write)) {
        const signed = await Promise.all(
          mails.map(async (mail) => Buffer.concat([await signMail(mail, keys, { signedAt }), mail])),
        )
        const verdicts = await verify(signed, records)
        for (const [i, mail] of signed.entries())
          expect(verdicts[i], mail.toString('latin1')).toEqual(bothPass)
      }
    },
  )
})
