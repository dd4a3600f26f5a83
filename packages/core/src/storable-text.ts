/**
 * Text from outside as PostgreSQL can keep it: a peer may say anything, U+0000 and halves of characters included, which
 * neither text nor jsonb takes.
 */
export function storableText(text: string): string {
  return text.replaceAll('\0', '\u{FFFD}').toWellFormed()
}
