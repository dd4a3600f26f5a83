/** The last first, as they were opened one upon the other; one that fails keeps no other from it. */
export async function closeAll(closers: (() => unknown)[]): Promise<void> {
  const errors: unknown[] = []
  for (const close of closers.splice(0).reverse())
    await Promise.try(close).catch((error: unknown) => {
      errors.push(error)
    })
  if (errors.length > 0) throw new AggregateError(errors, 'not everything was closed')
}
