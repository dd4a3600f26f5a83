/** Templates for tests of their endpoints. */
import type { TestApi } from '../../open-api.test-support.ts'

export interface MadeTemplate {
  id: string
  slug: string
  version: number
  published_version: number | null
}

/** Makes templates of a tenant, of the default one unless told. */
export function templatesOf(api: TestApi, key = api.tenant.key) {
  const make = async (slug: string, more: object = {}): Promise<MadeTemplate> => {
    const body = { slug, subject: 'Hello {{ name }}', text: 'Hello {{ name }}', ...more }
    const answer = await api.ask('POST', '/templates', { key, body })
    if (answer.statusCode !== 201) throw new Error(`not made: ${answer.body}`)
    return answer.json()
  }
  return {
    make,
    /** One without a subject. */
    part: (kind: 'layout' | 'partial', slug: string, html: string) =>
      make(slug, { kind, subject: undefined, text: undefined, html }),
  }
}
