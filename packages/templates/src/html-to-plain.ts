/** The text part of a mail whose template has only html. */
import { compile } from 'html-to-text'
import { renderLimits } from './render-limits.ts'

/** Links are written out behind their words, pictures by what is said in their place; lines are left to the reader's program. */
export const htmlToPlain: (html: string) => string = compile({
  wordwrap: false,
  limits: { maxInputLength: renderLimits.outputCharacters, maxDepth: 100, maxChildNodes: 10_000 },
  selectors: [
    { selector: 'a', options: { hideLinkHrefIfSameAsText: true, linkBrackets: ['(', ')'] } },
    { selector: 'img', format: 'skip' },
    ...['h1', 'h2', 'h3', 'h4', 'h5', 'h6'].map((selector) => ({ selector, options: { uppercase: false } })),
  ],
})
