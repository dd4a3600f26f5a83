/**
 * Why a mailbox cannot be read, in words for whoever gave it to us: what it means, and what to do. The conversation's own words come with
 * it as `detail`. docs/operations.md names them; a code that was shown once keeps its meaning.
 */

export interface MailboxTroubleText {
  /** What is the matter, as a sentence. */
  meaning: string
  /** What whoever looks after the mailbox can do. */
  remedy: string
  /**
   * From the first failed look to the next, in milliseconds; it doubles with each further one. A login that is refused again and again
   * gets accounts locked, so it is asked more seldom.
   */
  firstPauseMs: number
}

const soonMs = 30_000
const laterMs = 5 * 60_000

export const mailboxTroubles = {
  name_unavailable: {
    meaning: 'The name of the host could not be looked up.',
    remedy:
      'Check host for a typing error, and that the machine of the workers can look names up: getent hosts <host>.',
    firstPauseMs: soonMs,
  },
  address_refused: {
    meaning: 'The host is at a private or reserved address, to which nothing is connected.',
    remedy:
      'Name a host with a public address. For one inside your own network the operator lists that network in VALIJA_ALLOW_NETWORKS and restarts.',
    firstPauseMs: laterMs,
  },
  unreachable: {
    meaning: 'No connection to the host and port came about.',
    remedy:
      'Check host and port (IMAP 993 or 143, POP3 995 or 110), and that a firewall lets the workers out to it.',
    firstPauseMs: soonMs,
  },
  no_greeting: {
    meaning: 'A connection came about, and no mail server said a word on it.',
    remedy:
      'Check that protocol, port and tls belong together (IMAP 993 implicit or 143 starttls, POP3 995 implicit or 110 starttls): another service, or a port with another kind of TLS, waits for us to speak first.',
    firstPauseMs: soonMs,
  },
  tls_failed: {
    meaning: 'The connection could not be encrypted to a server whose certificate is valid for the host.',
    remedy:
      'Give as host the name that is in the certificate, and as tls what the port speaks (implicit on 993 and 995, starttls on 143 and 110). An authority of your own is made known by NODE_EXTRA_CA_CERTS.',
    firstPauseMs: laterMs,
  },
  login_refused: {
    meaning: 'The server refused the login.',
    remedy:
      'Set user and password again by PATCH /mailboxes/:id; many services want an app password, and IMAP or POP3 to be switched on in their settings.',
    firstPauseMs: laterMs,
  },
  folder_missing: {
    meaning: 'The folder that is to be read cannot be opened.',
    remedy: 'Set folder to one that the mailbox has, or make it there. Its usual name is INBOX.',
    firstPauseMs: laterMs,
  },
  busy: {
    meaning: 'Another program has the mailbox open, and the server allows one at a time.',
    remedy: 'Nothing if it passes. Otherwise end the other program, or give bounces a mailbox of their own.',
    firstPauseMs: soonMs,
  },
  not_moved: {
    meaning: 'Mails that were applied could not be moved or deleted. They are not applied again.',
    remedy:
      'Give the login the right to delete in folder and to write in done_folder, or set done_folder to one that it may write in; look at the mailbox’s quota.',
    firstPauseMs: laterMs,
  },
  too_many_mails: {
    meaning: 'The mailbox holds more mails than are looked through.',
    remedy:
      'Move mails that are no bounces elsewhere, or have bounces delivered to a mailbox or folder of their own.',
    firstPauseMs: laterMs,
  },
  connection_lost: {
    meaning: 'The connection ended in the middle.',
    remedy: 'Nothing if it passes; otherwise ask whoever runs the server what its log says.',
    firstPauseMs: soonMs,
  },
  timeout: {
    meaning: 'The server took too long to answer.',
    remedy: 'Nothing if it passes; otherwise ask whoever runs the server, or look at the network between.',
    firstPauseMs: soonMs,
  },
  protocol: {
    meaning: 'The server answered something that its protocol does not have.',
    remedy: 'Check that protocol, port and tls belong together: what answers may be another service.',
    firstPauseMs: laterMs,
  },
  password_unreadable: {
    meaning: 'The stored password cannot be opened: the key that sealed it is not in VALIJA_SECRET_KEY.',
    remedy: 'List the former key behind the new one in VALIJA_SECRET_KEY, or give the password again.',
    firstPauseMs: laterMs,
  },
  internal: {
    meaning: 'A mail was read, and what it says could not be written down.',
    remedy: 'Look at the log of the workers: usually the database was away. The mail is read again.',
    firstPauseMs: soonMs,
  },
} as const satisfies Record<string, MailboxTroubleText>

export type MailboxTroubleCode = keyof typeof mailboxTroubles

export interface MailboxTrouble {
  code: MailboxTroubleCode
  /** The words of the server, the network or the library, on one line. */
  detail: string
}

const longestPauseMs = 60 * 60_000

/** @param failures looks in a row that failed, this one included */
export function mailboxPauseMs(code: MailboxTroubleCode, failures: number): number {
  return Math.min(longestPauseMs, mailboxTroubles[code].firstPauseMs * 2 ** Math.min(20, failures - 1))
}
