/** A suppression list as a table (GET /suppressions/export): a page at a time, so that its length is nobody's burden. */
import { type Caller, type Uuid, writeCsvLine } from '@valija/core'
import { listSuppressions, type StoredSuppression } from '@valija/store'
import { askPatiently } from './ask-patiently.ts'
import {
  type SuppressionDesk,
  type SuppressionRequest,
  type SuppressionView,
  searchOf,
  toSuppressionView,
} from './manage-suppressions.ts'

const columns = [
  'id',
  'email',
  'stream',
  'reason',
  'status',
  'provider',
  'message_id',
  'reply',
  'created_at',
] as const satisfies (keyof SuppressionView)[]

const pageRows = 1_000

/**
 * The first page is read before anything is answered, so that trouble with it can still be said. Later nothing can be said but by cutting the
 * answer off, so PostgreSQL is then waited for, for half a minute.
 *
 * @param stop nobody reads any more
 * @returns the text in pieces; what is added meanwhile is not in it
 */
export async function exportSuppressions(
  { database }: Pick<SuppressionDesk, 'database'>,
  { tenantId }: Pick<Caller, 'tenantId'>,
  request: Omit<SuppressionRequest, 'limit' | 'cursor'>,
  stop: AbortSignal,
): Promise<AsyncGenerator<string>> {
  const search = searchOf(request)
  const read = (after: Uuid | null) =>
    listSuppressions(database, tenantId, search, { limit: pageRows, after })
  return writePages(await read(null), (after) => askPatiently(() => read(after), stop))
}

async function* writePages(
  first: StoredSuppression[],
  read: (after: Uuid) => Promise<StoredSuppression[]>,
): AsyncGenerator<string> {
  yield writeCsvLine(columns)
  for (let page = first; ; ) {
    const views = page.map(toSuppressionView)
    yield views.map((view) => writeCsvLine(columns.map((column) => view[column]))).join('')
    const last = page.at(-1)
    if (last === undefined || page.length < pageRows) return
    page = await read(last.id)
  }
}
