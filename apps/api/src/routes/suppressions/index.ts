/** Suppressed addresses. */
import type { RouteGroup } from '../../route.ts'
import { createSuppression } from './create-suppression.ts'
import { deleteSuppression } from './delete-suppression.ts'
import { exportSuppressionsRoute } from './export-suppressions.ts'
import { getSuppression } from './get-suppression.ts'
import { importSuppressionsRoute } from './import-suppressions.ts'
import { listSuppressions } from './list-suppressions.ts'
import { suppressionSchemas } from './schemas.ts'
import { SuppressionUndo, undoSuppressionsRoute } from './undo-suppressions.ts'
import { updateSuppression } from './update-suppression.ts'

export const suppressionRoutes: RouteGroup = {
  tag: { name: 'Suppressions', description: 'Addresses that a tenant’s mail is not sent to.' },
  schemas: [...suppressionSchemas, SuppressionUndo],
  routes: [
    listSuppressions,
    createSuppression,
    importSuppressionsRoute,
    exportSuppressionsRoute,
    undoSuppressionsRoute,
    getSuppression,
    updateSuppression,
    deleteSuppression,
  ],
}
