/** The ways that mail can take: into the capture inbox, or through the operator's relay. */
export const routes = ['capture', 'smarthost'] as const
export type Route = (typeof routes)[number]

export function isRoute(text: string): text is Route {
  return (routes as readonly string[]).includes(text)
}
