/** What POST /send/preview looks at, put together. */
import type { Resolver } from '@valija/courier'
import {
  createReportFields,
  createReturnPaths,
  type DomainHosts,
  type Foundation,
  type MailSigner,
  type PreviewDesk,
  previewMessage,
  type RouteDirectory,
  type SendDesk,
  type SendingHost,
} from '@valija/flows'
import type { ApiDependencies } from './dependencies.ts'

export interface PreviewParts {
  foundation: Pick<Foundation, 'database' | 'sealer' | 'wake'>
  sendDesk: SendDesk
  routes: RouteDirectory
  signer: MailSigner
  resolver: Resolver
  domainHosts: Pick<DomainHosts, 'bounceDomain'>
  sendingHosts: () => Promise<SendingHost[]>
}

/** `close` stops listening for changed domains. */
export function openPreview({
  foundation,
  sendDesk,
  routes,
  signer,
  resolver,
  domainHosts: { bounceDomain },
  sendingHosts,
}: PreviewParts): Pick<ApiDependencies, 'previewMessage'> & { close: () => void } {
  const { database, sealer, wake } = foundation
  const returnPaths = createReturnPaths({ bounceDomain, sealer, database, wake })
  const reportFields = createReportFields({ sealer, bounceDomain })
  const outside = { resolver, sendingHosts }
  const desk: PreviewDesk = { database, sendDesk, routes, returnPaths, reportFields, signer, ...outside }
  return {
    previewMessage: (caller, input) => previewMessage(desk, caller, input),
    close: () => returnPaths.close(),
  }
}
