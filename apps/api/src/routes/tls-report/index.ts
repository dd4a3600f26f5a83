/** How TLS goes with receivers: the operator's route. */
import type { RouteGroup } from '../../route.ts'
import { listTlsReport, TlsReportEntry } from './list-tls-report.ts'

export const tlsReportRoutes: RouteGroup = {
  tag: { name: 'TLS report', description: 'How TLS goes with receivers; with the operator’s key only.' },
  schemas: [TlsReportEntry],
  routes: [listTlsReport],
}
