/** VALIJA_PUBLIC_URL: what the links in mails begin with, for whoever reads them. */
import { type Check, checkOf } from './check.ts'
import { isFullyQualified } from './ehlo-name.ts'

const fix =
  'Set VALIJA_PUBLIC_URL to the https URL under which the world reaches this API, such as https://mail.example.com; a proxy may let nothing but /unsubscribe/ through.'

/** Not a failure: whoever sends no bulk mail has no links in it. */
export function judgePublicUrl(publicUrl: string, delivery: 'capture' | 'smarthost' | 'mx' | null): Check {
  const check = checkOf('public_url', publicUrl)
  if (delivery === null || delivery === 'capture')
    return check.skipped('with capture no mail reaches anybody')
  const { protocol, hostname } = new URL(publicUrl)
  if (!isFullyQualified(hostname)) {
    return check.warning('readers of mails cannot reach it: links to unsubscribe by lead nowhere', fix)
  }
  return protocol === 'https:'
    ? check.ok('an https URL with a full name')
    : check.warning(
        'is not https: mailbox providers do not follow its links to unsubscribe by (RFC 8058)',
        fix,
      )
}
