/**
 * The tags that templates have: those of LiquidJS without `tablerow`, and with layouts and partials named by what stands in quotes, so that
 * all of what a template uses is known before it is rendered.
 */
import {
  BlockTag,
  CaptureTag,
  type Context,
  IncludeTag,
  LayoutTag,
  type Liquid,
  type Parser,
  RenderTag,
  type TagToken,
  type TopLevelToken,
} from 'liquidjs'

export const slugPattern = /^[a-z0-9](?:[a-z0-9_-]{0,62}[a-z0-9])?$/

export interface FoundReference {
  slug: string
  kind: 'layout' | 'partial'
  line: number
}

/** @param note told of each layout and partial that a source names, while it is parsed */
export function registerTags(liquid: Liquid, note: (reference: FoundReference) => void): void {
  Reflect.deleteProperty(liquid.tags, 'tablerow')
  liquid.registerTag('capture', CountedCapture)
  liquid.registerTag('block', NamedBlock)
  const tell = (tag: object, token: TagToken, kind: FoundReference['kind']) => {
    const { file } = tag as { file?: unknown }
    if (typeof file !== 'string' || !slugPattern.test(file))
      throw new Error(`"${token.name}" must be followed by the slug of a ${kind} in quotes`)
    note({ slug: file, kind, line: token.getPosition()[0] ?? 1 })
  }
  liquid.registerTag(
    'render',
    class extends RenderTag {
      constructor(token: TagToken, rest: TopLevelToken[], engine: Liquid, parser: Parser) {
        super(token, rest, engine, parser)
        tell(this, token, 'partial')
      }
    },
  )
  liquid.registerTag(
    'include',
    class extends IncludeTag {
      constructor(token: TagToken, rest: TopLevelToken[], engine: Liquid, parser: Parser) {
        super(token, rest, engine, parser)
        tell(this, token, 'partial')
      }
    },
  )
  liquid.registerTag(
    'layout',
    class extends LayoutTag {
      constructor(token: TagToken, rest: TopLevelToken[], engine: Liquid, parser: Parser) {
        super(token, rest, engine, parser)
        tell(this, token, 'layout')
      }
    },
  )
}

/** What is captured counts as made: captured twice into itself it doubles each time. */
class CountedCapture extends CaptureTag {
  override *render(context: Context): Generator<unknown, void, string> {
    yield* super.render(context)
    const made: unknown = context.bottom()[this.variable]
    if (typeof made === 'string') context.memoryLimit.use(made.length)
  }
}

/** LiquidJS keeps blocks in a plain object. */
class NamedBlock extends BlockTag {
  constructor(token: TagToken, rest: TopLevelToken[], engine: Liquid, parser: Parser) {
    super(token, rest, engine, parser)
    if (this.block in {}) throw new Error(`a block cannot be named ${this.block}`)
  }
}
